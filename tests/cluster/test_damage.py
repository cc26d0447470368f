"""Nothing wrong is ever served: files of a store that rot under a running daemon, or while it is down, cost a copy of the
partition, which is set aside and made anew from its peers; a full disk costs writes, not reads, and only while it is full."""
import glob
import os
import re
import shutil
import signal
import time

import pytest

import small_disk
import wire_client
from onebox import Box, free_port_base, wait_until

ROWS = 3000
# So that the store is flushed, and its log trimmed, while a test watches.
SMALL_LOG = ["--set", "replication.log_private_file_size_mb=1", "--set", "replication.log_flush_mb=1", "--set",
             "replication.log_private_reserve_max_size_mb=1"]
FULL_DISK_MIB = 128
NOTICED_SECONDS = 15
RECOVERED_SECONDS = 30


def key(n):
    return b"row%d" % n


def value(n):
    return b"%d:" % n + bytes([n * 7 % 251]) * 600


def fill(table):
    for n in range(ROWS):
        table.put(key(n), b"s", value(n), seconds=20)


def check_all(table, seconds=30):
    for n in range(ROWS):
        assert table.get(key(n), b"s", seconds=seconds) == value(n), "row %d" % n


def reps(box, name):
    return os.path.join(box.dir, name, "disk1", "replica", "reps")


def store_of(box, name, app, partition=0):
    return os.path.join(reps(box, name), "%d.%d.pegasus" % (app, partition), "data", "rdb")


def set_aside(box, name, app):
    return glob.glob(os.path.join(reps(box, name), "%d.0.pegasus.*.err" % app))


def largest_table_file(store):
    return max(glob.glob(store + "/*.sst"), key=os.path.getsize)


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 0x10]))


def table_with_files(box, name):
    """A table of one partition whose rows are in files on every node."""
    box.create(name, partitions=1)
    table = wire_client.Table(box.metas, name)
    fill(table)
    box.wait_healthy(name)
    for replica in box.replica_names():
        wait_until(30, lambda: glob.glob(store_of(box, replica, table.app) + "/*.sst")
                   and os.path.getsize(largest_table_file(store_of(box, replica, table.app))) > 100000, 0.1)
    return table


def test_rot_under_a_running_primary(own_box, record_property):
    box = own_box(*SMALL_LOG)
    table = table_with_files(box, "rot")
    leader = next(n for n in box.replica_names() if box.address(n) == table.primaries[0])
    rotten = largest_table_file(store_of(box, leader, table.app))
    size = os.path.getsize(rotten)
    # Data blocks, all over the file: whatever row is read first, one of them is met.
    for at in range(size // 20, size * 9 // 10, 2048):
        flip(rotten, at)
    began = time.monotonic()
    check_all(table)  # every row is right, whoever answers
    record_property("all rows read right while the primary's file rots, s", round(time.monotonic() - began, 2))
    wait_until(NOTICED_SECONDS, lambda: set_aside(box, leader, table.app), 0.1)
    box.wait_healthy("rot", 60)
    told = [line for line in box.log(leader).splitlines() if "set aside" in line]
    assert any(os.path.basename(rotten) in line and re.search(r"offset \d+", line) for line in told), told
    aside = set_aside(box, leader, table.app)
    assert len(aside) == 1 and os.path.exists(aside[0] + "/data/rdb/" + os.path.basename(rotten))
    check_all(table)
    table.close()


def damage_current(store):
    os.remove(store + "/CURRENT")


def damage_manifest(store):
    manifest = glob.glob(store + "/MANIFEST-*")[0]
    flip(manifest, os.path.getsize(manifest) // 2)


def damage_missing_file(store):
    os.remove(largest_table_file(store))


def damage_torn_file(store):
    path = largest_table_file(store)
    os.truncate(path, os.path.getsize(path) // 2)


@pytest.mark.parametrize("damage", [damage_current, damage_manifest, damage_missing_file, damage_torn_file],
                         ids=lambda d: d.__name__)
def test_rot_while_a_daemon_is_down(damaged_box, damage, record_property):
    """The daemon comes back with a damaged store. It sets that aside, learns, and can then serve alone."""
    box, table = damaged_box
    name = "replica3"
    before = set(set_aside(box, name, table.app))
    box.send(name, signal.SIGKILL)
    wait_until(10, lambda: box.pid(name) is None)
    damage(store_of(box, name, table.app))
    box.restart(name)
    began = time.monotonic()
    wait_until(NOTICED_SECONDS, lambda: set(set_aside(box, name, table.app)) - before, 0.1)
    box.wait_healthy("torn", 60)
    record_property("set aside and whole again, s", round(time.monotonic() - began, 2))
    # What it learned is all there: the others leave one after the other.
    for other in ("replica1", "replica2"):
        box.send(other, signal.SIGTERM)
        wait_until(10, lambda: box.pid(other) is None)
    try:
        check_all(table)
        table.refresh()
        assert set(table.primaries.values()) == {box.address(name)}
    finally:
        for other in ("replica1", "replica2"):
            box.restart(other)
    box.wait_healthy("torn", 60)


@pytest.fixture(scope="module")
def damaged_box(tmp_path_factory):
    box = Box(tmp_path_factory.mktemp("damaged"), free_port_base(), *SMALL_LOG)
    table = table_with_files(box, "torn")
    yield box, table
    table.close()
    box.stop()


# ---- full disks -------------------------------------------------------------------------------------------------


@pytest.fixture
def small_disks(tmp_path):
    """A onebox whose replica daemons have a small disk each, and the disks' folders."""
    box = Box(tmp_path, free_port_base(), *SMALL_LOG)
    box.stop()
    mounted = []
    for name in box.replica_names():
        folder = os.path.join(box.dir, name, "disk1")
        os.rename(folder, folder + ".large")
        os.mkdir(folder)
        refused = small_disk.mount(folder, FULL_DISK_MIB)
        if refused:
            small_disk.unmount(mounted)
            pytest.skip("a small disk cannot be mounted here: " + refused)
        mounted.append(folder)
        shutil.copytree(folder + ".large", folder, dirs_exist_ok=True)
    box.start()
    yield box, mounted
    box.stop()
    small_disk.unmount(mounted)


def test_full_disk_refuses_writes_and_recovers(small_disks, record_property):
    box, disks = small_disks
    box.create("full", partitions=2)
    table = wire_client.Table(box.metas, "full")
    fill(table)
    box.wait_healthy("full")
    fillers = [small_disk.fill(d) for d in disks]
    refusals, unknown = [], 0
    end = time.monotonic() + NOTICED_SECONDS
    attempt = 0
    # Both partitions say so, each with the error that names the cause.
    for partition in (0, 1):
        while len(refusals) <= partition:
            assert time.monotonic() < end, "writes to partition %d are not refused" % partition
            try:
                table.put(wire_client.key_in_partition(partition, 2, "late%d_" % attempt), b"s", b"x" * 5000,
                          seconds=0.5)
            except wire_client.Refused as e:
                refusals.append(str(e))
            except (wire_client.Unknown, wire_client.NoRoute):
                unknown += 1
            attempt += 1
    assert all("ERR_DISK_INSUFFICIENT" in r for r in refusals), refusals
    # The stores are asked to flush what they have, and cannot.
    box.shell("remote_command -t replica-server replica.trigger-checkpoint")
    wait_until(NOTICED_SECONDS, lambda: any(re.search(r"\.sst: No space left", box.log(n)) for n in box.replica_names()),
               0.1)
    check_all(table)  # reads go on
    assert all(box.pid(n) is not None for n in box.names())
    # A little room is hardly room: stores do not begin and fail again at each try (five a second).
    def resumed():
        return [box.log(n).count("there is space again") for n in box.replica_names()]
    before = resumed()
    for filler in fillers:
        os.truncate(filler, os.path.getsize(filler) - (512 << 10))
    time.sleep(1.5)
    assert all(b - a <= 2 * 2 for a, b in zip(before, resumed())), "two stores resumed %s times" % resumed()
    for filler in fillers:
        os.remove(filler)
    began = time.monotonic()

    def writes_again():
        try:
            for partition in (0, 1):
                table.put(wire_client.key_in_partition(partition, 2, "again"), b"s", b"x", seconds=1)
            return True
        except (wire_client.Refused, wire_client.Unknown, wire_client.NoRoute):
            return False
    wait_until(RECOVERED_SECONDS, writes_again, 0.05)
    record_property("writes again after space returned, s", round(time.monotonic() - began, 2))
    record_property("writes without an answer when the disk became full", unknown)
    box.wait_healthy("full", 60)
    fill(table)
    check_all(table)
    assert not [d for n in box.replica_names() for d in glob.glob(reps(box, n) + "/*.err")]
    table.close()
