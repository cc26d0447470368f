"""SIGTERM: what is in flight is answered, nobody is left hanging, and the process is gone within five seconds."""
import signal
import socket
import time

import pytest

import wire_client
from load import Load
from onebox import wait_until

DRAIN_SECONDS = 5.0


@pytest.fixture
def restored(box):
    yield
    for name in box.names():
        if box.pid(name) is None:
            box.restart(name)
    box.wait_healthy("temp")


def ended_after(box, name):
    began = time.monotonic()
    box.send(name, signal.SIGTERM)
    wait_until(DRAIN_SECONDS + 10, lambda: box.pid(name) is None)
    return time.monotonic() - began


def test_a_replica_drains_under_load(box, restored, record_property):
    with Load(box, "temp", 8, by_partition=True) as load:
        time.sleep(0.5)
        took = ended_after(box, "replica1")
        time.sleep(1)
    record_property("seconds until replica1 was gone", round(took, 2))
    assert took < DRAIN_SECONDS
    assert load.errors() == []
    assert load.verify() == []
    death = [e for e in box.events() if e["event"] == "death" and e["name"] == "replica1"][-1]
    assert death["status"] == 0, "a drained daemon ends with exit code 0"


def test_no_call_is_left_hanging(box, restored):
    """Requests on many connections, sent while the daemon goes: each is answered, or its connection is closed."""
    table = wire_client.Table(box.metas, "temp")
    table.refresh()
    target = box.address("replica2")
    argument = wire_client.wire_replay.write("blob", wire_client.raw_key(b"k", b"s"))
    partition = next(p for p, a in table.primaries.items() if a == target)
    request = wire_client.frame(wire_client.message("RPC_RRDB_RRDB_GET", 7, argument), table.app, partition, 1000, 0)
    links = [wire_client.Connection(target) for _ in range(20)]
    box.send("replica2", signal.SIGTERM)
    open_links, answers, end = list(links), 0, time.monotonic() + DRAIN_SECONDS + 1
    while open_links and time.monotonic() < end:
        for link in list(open_links):
            try:
                link.call(request, 1.0)
                answers += 1
            except socket.timeout:
                pytest.fail("a request was neither answered nor its connection closed for a second")
            except (ConnectionError, BrokenPipeError):
                open_links.remove(link)
        time.sleep(0.02)
    assert open_links == []
    assert answers > 0, "connections were cut at once; they must stay open a while (01 §12.3)"
    wait_until(DRAIN_SECONDS, lambda: box.pid("replica2") is None)


def test_a_meta_ends_in_time(box, restored, record_property):
    took = ended_after(box, "meta1")
    record_property("seconds until meta1 was gone", round(took, 2))
    assert took < DRAIN_SECONDS
    table = wire_client.Table(box.metas, "temp")
    box.restart("meta1")
    table.put(b"after", b"meta", b"v", seconds=10)
    table.close()


def test_the_whole_cluster_ends_in_time(own_box, record_property):
    box = own_box()
    began = time.monotonic()
    box.stop()
    took = time.monotonic() - began
    record_property("seconds until onebox stop returned", round(took, 2))
    assert took < 2 * DRAIN_SECONDS
