"""Faults beyond the death of one replica daemon: a process that sleeps through its lease, two deaths at once, and a
member that was away for long."""
import json
import random
import signal

import pytest

import wire_client
from load import Load
from onebox import wait_until

PARTITIONS = 8
ASLEEP_SECONDS = 30  # by then the lease is over and somebody else leads
ROUNDS_OF_TWO = 5


def led_by(table, address):
    return next(p for p, a in sorted(table.primaries.items()) if a == address)


def point_frame(table, operation, argument, partition):
    return wire_client.frame(wire_client.message("RPC_RRDB_RRDB_" + operation, 1, argument), table.app, partition, 60000, 0)


def decrees_of(box, name, partition):
    """What `replica.query-progress` says of one partition on one daemon."""
    answer = json.loads(box.shell("remote_command -l %s replica.query-progress %s" % (box.address(name), partition)))
    said = answer["details"][box.address(name)]["message"]  # "1 processed, 0 not found\n    1.0@host:port@P : {...}"
    return json.loads(said[said.index("{"):])


def test_who_slept_through_its_lease_serves_nothing_stale(box):
    """What lay in its sockets while it slept is looked at after somebody else took over: neither an old value may be
    read from it, nor a write be acknowledged by it."""
    table = wire_client.Table(box.metas, "temp")
    table.refresh()
    sleeper = box.address("replica1")
    partition = led_by(table, sleeper)
    key = wire_client.key_in_partition(partition, PARTITIONS, "sleep")
    table.put(key, b"s", b"old")
    raw = wire_client.raw_key(key, b"s")
    requests = [("GET", wire_client.wire_replay.write("blob", raw)),
                ("PUT", wire_client.wire_replay.write_struct("update_request", [[1, 12, raw], [2, 12, b"lost"], [3, 8, 0]]))]
    links = [wire_client.Connection(sleeper) for _ in requests]
    box.send("replica1", signal.SIGSTOP)
    try:
        def somebody_else_leads():
            table.refresh()
            return table.primaries.get(partition) not in (None, sleeper)
        wait_until(ASLEEP_SECONDS, somebody_else_leads, 0.1)
        table.put(key, b"s", b"new", seconds=10)
        for link, (operation, argument) in zip(links, requests):
            link.socket.sendall(point_frame(table, operation, argument, partition))
    finally:
        box.send("replica1", signal.SIGCONT)
    for link, (operation, _) in zip(links, requests):
        link.socket.settimeout(10)
        assert wire_client.wire_replay.Response(link.read_frame()).error == "ERR_INVALID_STATE", operation
        link.close()
    box.wait_healthy("temp", 60)
    assert table.get(key, b"s") == b"new"
    table.close()


def test_sleep_under_load(box, record_property):
    with Load(box, "temp", PARTITIONS, by_partition=True, seconds=30, prefix="sleepy") as load:
        box.send("replica2", signal.SIGSTOP)
        try:
            table = wire_client.Table(box.metas, "temp")

            def leads_nothing():
                table.refresh()
                return len(table.primaries) == PARTITIONS and box.address("replica2") not in table.primaries.values()
            wait_until(ASLEEP_SECONDS, leads_nothing, 0.1)
        finally:
            box.send("replica2", signal.SIGCONT)
        box.wait_healthy("temp", 60)
    record_property("acknowledged writes, none lost", load.acknowledged_writes())
    assert load.verify() == []


def test_two_of_three_killed_at_once(own_box, record_property):
    box = own_box()
    written = 0
    for number in range(ROUNDS_OF_TWO):
        names = random.sample(box.replica_names(), 2)
        with Load(box, "temp", 6, seconds=60, prefix="two%d_" % number) as load:
            for name in names:
                box.send(name, signal.SIGKILL)
            wait_until(5, lambda: all(box.pid(name) is None for name in names))
            for name in names:
                box.restart(name)
            box.wait_healthy("temp", 60)
        written += load.acknowledged_writes()
        lost = load.verify()
        assert lost == [], "round %d, %s killed: %s" % (number + 1, names, lost[:10])
    record_property("acknowledged writes, none lost", written)


@pytest.mark.parametrize("source", ["log", "checkpoint"])
def test_who_was_away_for_long_learns_what_it_missed(own_box, source):
    """More than a primary holds in memory was written meanwhile: the log is read, or, where that is trimmed, the store
    is copied. Then the other two leave, and all must be readable from the one that learned."""
    small = [] if source == "log" else ["--set", "replication.log_private_file_size_mb=1", "--set",
                                        "replication.log_flush_mb=1", "--set",
                                        "replication.log_private_reserve_max_size_mb=1"]
    box = own_box(*small)
    box.create("away", partitions=1)
    table = wire_client.Table(box.metas, "away")
    value = random.Random(1).randbytes(60000)
    keys = [b"key%d" % n for n in range(400)]

    def put_first(count, mark):
        for key in keys[:count]:
            table.put(key, b"s", mark + value)
    put_first(20, b"1")
    box.wait_healthy("away")
    table.refresh()
    partition = "%d.0" % table.app
    held = decrees_of(box, "replica3", partition)["max_plog_decree"]
    box.kill("replica3")
    put_first(len(keys), b"2")
    if source == "checkpoint":
        # The log is trimmed in the background, and either of the two may lead when the third returns.
        wait_until(30, lambda: all(decrees_of(box, name, partition)["max_gc_decree"] > held
                                   for name in ("replica1", "replica2")), 0.2)
    box.restart("replica3")
    box.wait_healthy("away", 60)
    assert ("copies the checkpoint" in box.log("replica3")) == (source == "checkpoint")
    put_first(10, b"3")
    for name in ("replica1", "replica2"):
        box.send(name, signal.SIGTERM)
        wait_until(10, lambda: box.pid(name) is None)
    for number, key in enumerate(keys):
        assert table.get(key, b"s", seconds=20) == (b"3" if number < 10 else b"2") + value
    table.refresh()
    assert set(table.primaries.values()) == {box.address("replica3")}
    # One of three is no majority.
    with pytest.raises((wire_client.Refused, wire_client.NoRoute, wire_client.Unknown)):
        table.put(keys[0], b"s", b"alone", seconds=2)
    for name in ("replica1", "replica2"):
        box.restart(name)
    box.wait_healthy("away", 60)
    table.put(keys[0], b"s", b"together", seconds=20)
    assert table.get(keys[0], b"s") == b"together"
    table.close()
