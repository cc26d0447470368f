"""Disks of a running daemon, with RocksDB in it: one is added, a secondary moves there, and what it left is swept when an
operator says so.

Budget: 20 s.
"""
import os
import urllib.request

import wire_client
from onebox import wait_until

WIRE = wire_client.wire_replay
WIRE.STRUCTS.update({
    "add_new_disk_request": {1: "str"},
    "replica_disk_migrate_request": {1: "gpid", 2: "str", 3: "str"},
    "disk_response": {1: "err", 2: "str"},
})
WIRE.RPCS.update({
    "RPC_ADD_NEW_DISK": (WIRE.S("add_new_disk_request"), WIRE.S("disk_response")),
    "RPC_REPLICA_DISK_MIGRATE": (WIRE.S("replica_disk_migrate_request"), WIRE.S("disk_response")),
})


def ask(address, rpc, argument):
    link = wire_client.Connection(address, 10)
    try:
        answer = link.call(wire_client.frame(wire_client.message(rpc, 1, argument)), 10)
        assert answer.error == "ERR_OK"
        return answer.field(1).decode()
    finally:
        link.close()


def add_disk(address, text):
    return ask(address, "RPC_ADD_NEW_DISK", WIRE.write_struct("add_new_disk_request", [[1, 11, text.encode()]]))


def migrate(address, app, partition, origin, target):
    gpid = (partition << 32) | app
    return ask(address, "RPC_REPLICA_DISK_MIGRATE", WIRE.write_struct(
        "replica_disk_migrate_request", [[1, 12, gpid], [2, 11, origin.encode()], [3, 11, target.encode()]]))


def test_a_disk_is_added_and_a_secondary_moves_there(own_box, tmp_path):
    box = own_box("--set", "replication.disk_stat_interval_seconds=1")
    box.create("moving", partitions=1)
    table = wire_client.Table(box.metas, "moving")
    value = os.urandom(20000)
    for n in range(300):
        table.put(b"key%d" % n, b"s", b"%d" % n + value)
    box.wait_healthy("moving")
    table.refresh()
    leader, address = table.members[0][0], table.members[0][1]
    second = str(tmp_path / "second")
    assert add_disk(address, "second") == "ERR_INVALID_PARAMETERS"
    assert add_disk(address, "disk2:" + second) == "ERR_OK"
    assert add_disk(address, "disk2:" + second) == "ERR_NODE_ALREADY_EXIST"
    assert migrate(leader, table.app, 0, "disk1", "disk2") == "ERR_INVALID_STATE"
    assert migrate(address, table.app, 0, "disk1", "disk2") == "ERR_OK"
    name = "%d.0.pegasus" % table.app
    there = os.path.join(second, "replica", "reps", name)
    # How admin-cli's balancer waits: while it goes on the same request answers busy.
    wait_until(30, lambda: migrate(address, table.app, 0, "disk1", "disk2") not in ("ERR_OK", "ERR_BUSY"), 0.1)
    assert os.path.isdir(there)
    box.wait_healthy("moving", 60)
    table.put(b"after", b"s", b"1")
    for n in range(300):
        assert table.get(b"key%d" % n, b"s") == b"%d" % n + value
    home = os.path.join(box.dir, next(r for r in box.replica_names() if box.address(r) == address), "disk1", "replica",
                        "reps")
    left = [n for n in os.listdir(home) if n.startswith(name)]
    assert len(left) == 1 and left[0].endswith(".disk.migrate.ori")
    with urllib.request.urlopen("http://%s/updateConfig?gc_disk_migration_origin_replica_interval_seconds=1" % address,
                                timeout=5) as answer:
        assert b"ERR_OK" in answer.read()
    wait_until(10, lambda: not [n for n in os.listdir(home) if n.startswith(name)], 0.1)
    assert os.path.isdir(there)
    table.close()
