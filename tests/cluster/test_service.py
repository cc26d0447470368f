"""How fast a cluster and a table are there, and what a daemon costs that has nothing to do."""
import os
import time

import pytest

import wire_client
from load import Load

START_SECONDS = 3.0
CREATE_SECONDS = 1.0
IDLE_MIB = 80


def write_everywhere(box, table, seconds):
    """Puts a record into each partition; the time that is left of `seconds` is the deadline of all of them."""
    client = wire_client.Table(box.metas, table)
    end = time.monotonic() + seconds
    for partition in range(8):
        client.put(wire_client.key_in_partition(partition, 8), b"s", b"v", seconds=end - time.monotonic())
    client.close()


def test_onebox_start_is_fast(own_box, record_property):
    began = time.monotonic()
    box = own_box()
    write_everywhere(box, "temp", 5)
    took = time.monotonic() - began
    record_property("seconds from start to a write in every partition", round(took, 2))
    assert took < START_SECONDS
    box.stop()
    began = time.monotonic()
    box.start()
    write_everywhere(box, "temp", 5)
    took = time.monotonic() - began
    record_property("seconds for a second start with data", round(took, 2))
    assert took < START_SECONDS


def test_a_new_table_is_writable_within_a_second(box, record_property):
    times = []
    for number in range(5):
        began = time.monotonic()
        box.create("quick%d" % number)
        write_everywhere(box, "quick%d" % number, 5)
        times.append(time.monotonic() - began)
    record_property("seconds from create to a write in every partition", [round(t, 2) for t in times])
    assert max(times) < CREATE_SECONDS


def test_a_new_table_has_three_members_everywhere(box):
    box.create("threefold")
    box.wait_healthy("threefold", 10)
    client = wire_client.Table(box.metas, "threefold")
    client.refresh()
    assert sorted(client.members) == list(range(8))
    assert all(len(set(m)) == 3 for m in client.members.values())
    assert all(b >= 1 for b in client.ballots.values())
    # Nobody leads everything.
    assert set(client.primaries.values()) == set(box.replicas)


def test_idle_daemons_are_small(own_box, record_property):
    box = own_box()
    time.sleep(3)  # what is measured are daemons that have been idle for a while
    memory = {name: round(box.resident_mib(name)) for name in box.names()}
    threads = {name: box.threads(name) for name in box.names()}
    record_property("resident MiB", memory)
    record_property("threads", threads)
    assert all(m < IDLE_MIB for m in memory.values())
    assert all(t <= os.cpu_count() + 8 for t in threads.values())


def test_a_missing_table_is_refused(box):
    client = wire_client.Table(box.metas, "never_created")
    with pytest.raises(wire_client.Refused, match="ERR_OBJECT_NOT_FOUND"):
        client.get(b"a", b"b")


def test_three_metas_and_the_death_of_the_leader(own_box, record_property):
    """Whoever holds the lock of the embedded store leads; when that process dies, another one does."""
    box = own_box(metas=3)
    with Load(box, "temp", 4, seconds=15) as load:
        time.sleep(0.5)
        box.kill("meta1")
        began = time.monotonic()
        box.create("after_leader")
        record_property("seconds until another meta created a table", round(time.monotonic() - began, 2))
        box.restart("meta1")
    assert load.errors() == []
    assert load.verify() == []
