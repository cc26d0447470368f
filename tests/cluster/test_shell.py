"""The commands of the shell that need daemons with work to do: statistics, hot keys, compaction, counting by size. Each
as text and as JSON.

Budget: 75 s, of which the detection of hot keys takes three looks of 10 s.
"""
import json
import os
import subprocess
import threading
import time

import pytest

import wire_client
from onebox import BIN, Box, free_port_base, wait_until

TABLE = "shown"
PARTITIONS = 4


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    # How far a compaction is, and its end, is told with the comparisons.
    box = Box(tmp_path_factory.mktemp("shown"), free_port_base(), "--set", "replication.config_sync_interval_ms=300")
    box.create(TABLE, partitions=PARTITIONS)
    yield box
    box.stop()


def shell_json(box, command, timeout=60):
    """The last line of what `--json` prints, and whether the command went well."""
    done = subprocess.run([os.path.join(BIN, "markab-shell"), "--meta", box.meta, "--json", "-c", command],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=timeout)
    return json.loads(done.stdout.strip().splitlines()[-1]), done.returncode == 0


class Traffic(threading.Thread):
    """Gets and puts of one row, and of a few others, until told to stop."""

    def __init__(self, box, read_key, write_key):
        super().__init__(daemon=True)
        self.table = wire_client.Table(box.metas, TABLE)
        self.read_key, self.write_key = read_key, write_key
        self.ending = threading.Event()
        self.operations = 0

    def run(self):
        i = 0
        while not self.ending.is_set():
            i += 1
            self.table.get(self.read_key, b"s")
            self.table.put(self.write_key, b"s", b"v" * 50)
            if i % 10 == 0:
                self.table.get(b"cold %d" % (i % 500), b"s")
                self.table.put(b"cold %d" % (i % 500), b"s", b"v")
            self.operations += 2

    def __enter__(self):
        self.start()
        wait_until(10, lambda: self.operations > 50)
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.join(10)
        self.table.close()
        assert self.operations > 100, "there was no traffic"


@pytest.fixture
def traffic(shown):
    # Both hot keys in one partition: where to look is known.
    keys = [b"hot \x01%d" % i for i in range(200)]
    mine = [k for k in keys if wire_client.key_hash(k) % PARTITIONS == 2]
    with Traffic(shown, mine[0], mine[1]) as it:
        yield it


def test_nodes_with_requests_and_usage(shown, traffic):
    answer, good = shell_json(shown, "nodes -d -u -q -i 1000")
    assert good
    nodes = answer["details"]
    assert set(nodes) == set(shown.replicas)
    for node in nodes.values():
        assert node["status"] == "ALIVE"
        assert 1 < node["memused_res_mb"] < 4096
        assert 0 <= node["disk_avl_min_ratio"] <= node["disk_avl_total_ratio"] <= 100
        for column in ("block_cache_mb", "wbm_total_mb", "wbm_mutable_mb", "mem_tbl_mb", "mem_idx_mb"):
            assert node[column] >= 0
    assert sum(n["get_qps"] for n in nodes.values()) > 10
    assert sum(n["put_qps"] for n in nodes.values()) > 10
    assert sum(n["read_cu"] for n in nodes.values()) >= sum(n["get_qps"] for n in nodes.values()) * 0.9
    assert max(n["get_p99(ms)"] for n in nodes.values()) > 0
    assert sum(n["mget_qps"] + n["bget_qps"] + n["mput_qps"] for n in nodes.values()) == 0
    assert answer["summary"]["alive_node_count"] == 3
    text = shown.shell("nodes -u -q -i 200")
    head = next(line for line in text.splitlines() if line.startswith("address"))
    assert head.split() == ["address", "status", "memused_res_mb", "block_cache_mb", "wbm_total_mb", "wbm_mutable_mb",
                            "mem_tbl_mb", "mem_idx_mb", "disk_avl_total_ratio", "disk_avl_min_ratio", "get_qps",
                            "mget_qps", "bget_qps", "read_cu", "put_qps", "mput_qps", "write_cu", "get_p99(ms)",
                            "mget_p99(ms)", "bget_p99(ms)", "put_p99(ms)", "mput_p99(ms)"]


def test_server_stat(shown):
    answer, good = shell_json(shown, "server_stat -i 100")
    assert good
    rows = answer["server_stat"]
    assert set(rows) == set(shown.metas + shown.replicas)
    assert rows[shown.meta]["role"] == "meta-server" and rows[shown.meta]["primary_replicas"] == "-"
    replicas = [rows[r] for r in shown.replicas]
    # The table `temp` of every onebox has 8 partitions.
    assert sum(r["primary_replicas"] for r in replicas) == 8 + PARTITIONS
    assert sum(r["total_replicas"] for r in replicas) == 3 * (8 + PARTITIONS)
    assert all(r["res_mem_mb"] > 0 and r["virt_mem_mb"] > 0 for r in rows.values())
    one, good = shell_json(shown, "server_stat -i 100 -l %s" % shown.replicas[1])
    assert good and list(one["server_stat"]) == [shown.replicas[1]]
    assert "secondary_replicas" in shown.shell("server_stat -t replica-server -i 100")


def test_app_stat(shown, traffic):
    answer, good = shell_json(shown, "app_stat -i 1000")
    assert good
    rows = answer["app_stat"]
    assert set(rows) == {"temp", TABLE, "(total:2)"}
    assert rows[TABLE]["pcount"] == PARTITIONS and rows["(total:2)"]["pcount"] == 8 + PARTITIONS
    assert rows[TABLE]["GET"] > 10 and rows[TABLE]["PUT"] > 10 and rows["temp"]["GET"] == 0
    assert rows[TABLE]["RCU"] >= rows[TABLE]["GET"] * 0.9 and rows[TABLE]["WCU"] >= rows[TABLE]["PUT"] * 0.9
    assert rows["(total:2)"]["GET"] == pytest.approx(rows[TABLE]["GET"], abs=0.02)
    parts, good = shell_json(shown, "app_stat -a %s -q -i 1000" % TABLE)
    assert good
    rows = parts["app_stat"]
    assert set(rows) == {"0", "1", "2", "3", "(total:4)"}
    assert rows["2"]["GET"] > sum(rows[i]["GET"] for i in "013")  # both hot keys are there
    assert "file_mb" not in rows["2"]
    usage, good = shell_json(shown, "app_stat -u -i 100")
    assert good and "GET" not in usage["app_stat"][TABLE] and "hit_rate" in usage["app_stat"][TABLE]
    head = next(line for line in shown.shell("app_stat -i 100").splitlines() if line.startswith("app_name"))
    assert head.split() == ("app_name app_id pcount GET MGET BGET PUT MPUT DEL MDEL INCR CAS CAM SCAN RCU WCU expire "
                            "filter abnormal delay reject file_mb file_num mem_tbl_mb mem_idx_mb hit_rate seek_n_rate "
                            "point_n_rate point_fp_rate").split()
    missing, good = shell_json(shown, "app_stat -a nowhere -i 100")
    assert not good and missing["error"]["code"] == "TableNotFound"


def test_hot_keys_are_named(shown, traffic, record_property):
    partitions, good = shell_json(shown, "app %s -d" % TABLE)
    assert good
    primary = partitions["replicas"]["2"]["primary"]
    app = partitions["general"]["app_id"]
    where = "-a %s -p 2 -d %s" % (app, primary)
    for kind in ("read", "write"):
        started, good = shell_json(shown, "detect_hotkey %s -t %s -c start" % (where, kind))
        assert good and started == {"result": "ERR_OK", "hotkey": ""}
    again, good = shell_json(shown, "detect_hotkey %s -t read -c start" % where)
    assert not good and again["error"]["code"] == "Busy"
    early, good = shell_json(shown, "detect_hotkey %s -t read -c query" % where)
    assert not good and "COARSE_DETECTING" in early["error"]["message"]
    begun = time.monotonic()

    def found(kind):
        answer, good = shell_json(shown, "detect_hotkey %s -t %s --detect_action query" % (where, kind))
        return good and answer["hotkey"]
    wait_until(60, lambda: found("read") and found("write"), 1)
    record_property("seconds until both hot keys were found", round(time.monotonic() - begun, 1))
    assert found("read") == escaped(traffic.read_key)
    assert found("write") == escaped(traffic.write_key)
    assert escaped(traffic.read_key) in shown.shell("detect_hotkey %s -t read -c query" % where)
    for kind in ("read", "write"):
        assert "stopped" in shown.shell("detect_hotkey %s -t %s -c stop" % (where, kind))
    stopped, good = shell_json(shown, "detect_hotkey %s -t read -c query" % where)
    assert not good and "STOPPED" in stopped["error"]["message"]
    elsewhere, good = shell_json(shown, "detect_hotkey -a 999 -p 0 -d %s -t read -c start" % primary)
    assert not good and "ERR_OBJECT_NOT_FOUND" in elsewhere["error"]["message"]


def escaped(key):
    return "".join(chr(b) if 32 <= b < 127 else "\\x%02X" % b for b in key)


def test_manual_compaction(shown, record_property):
    none, good = shell_json(shown, "manual_compaction query -a temp")
    assert not good and "no compaction" in none["error"]["message"]
    table = wire_client.Table(shown.metas, TABLE)
    for i in range(50):
        table.multi_put(b"compact %d" % i, {b"%03d" % j: b"v" * 500 for j in range(100)})
    begun = time.monotonic()
    started, good = shell_json(shown, "manual_compaction start -a %s -b" % TABLE)
    assert good and started["started"]
    seen = []

    def done():
        answer, good = shell_json(shown, "manual_compaction query -a %s" % TABLE)
        seen.append(answer["progress"] if good else 0)
        return seen[-1] == 100
    wait_until(60, done, 0.3)
    record_property("seconds of a compaction of 2.5 MB", round(time.monotonic() - begun, 1))
    record_property("progress seen, percent", " ".join(str(p) for p in sorted(set(seen))))
    assert seen == sorted(seen), "progress went back: %s" % seen
    assert "100 %" in shown.shell("manual_compaction query -a %s" % TABLE)
    envs = shown.shell("use %s; get_app_envs" % TABLE)
    assert "manual_compact.once.trigger_time" in envs and "force" in envs
    # Once more, by the environments as scripts set them; the replicas tell when each ended.
    partitions, _ = shell_json(shown, "app %s -d" % TABLE)
    ask = "remote_command -t replica-server replica.query-compact %s" % partitions["general"]["app_id"]
    before = shown.shell(ask)
    time.sleep(max(0.0, 1.1 - (time.monotonic() - begun)))  # trigger times are whole seconds
    trigger = int(time.time()) + 1
    shown.shell("use %s; set_app_envs manual_compact.once.trigger_time %d" % (TABLE, trigger))
    wait_until(60, lambda: all(a != b for a, b in zip(ends(before), ends(shown.shell(ask)))), 0.3)
    shown.shell("use %s; set_app_envs manual_compact.disabled true" % TABLE)
    refused, good = shell_json(shown, "manual_compaction start -a %s" % TABLE)
    assert not good and "ERR_OPERATION_DISABLED" in refused["error"]["message"]
    shown.shell("use %s; clear_app_envs -a" % TABLE)


def ends(text):
    """When each replica says that its last compaction ended."""
    found = [line.split("last_finish")[1].split(",")[0] for line in text.replace("\\", "").split("@") if "last_finish" in line]
    assert len(found) == 3 * PARTITIONS, text
    return found


def test_count_data_by_size(shown):
    shown.create("sized", partitions=2)
    table = wire_client.Table(shown.metas, "sized")
    for i in range(20):
        table.multi_put(b"h%02d" % i, {b"s%02d" % j: b"v" * (10 if j else 1000 + i) for j in range(10)})
    answer, good = shell_json(shown, "use sized; count_data -d -a -n 3")
    assert good and answer["count"] == 200 and answer["hash_key_count"] == 20 and answer["complete"]
    assert sum(answer["by_partition"]) == 200
    sizes = answer["size"]
    assert sizes["hash_key"]["largest"] == 3 and sizes["sort_key"]["average"] == 3
    assert sizes["value"]["largest"] == 1019 and sizes["value"]["p50"] == 10
    assert sizes["row"]["largest"] == 1025
    assert [(r["row_size"], r["hash_key"], r["sort_key"]) for r in answer["top"].values()] == [
        (1025, "h19", "s00"), (1024, "h18", "s00"), (1023, "h17", "s00")]
    text = shown.shell("use sized; count_data -a -n 2")
    assert "[size]" in text and "[top]" in text and '"h19"' in text and "Count done, total 200 rows." in text
    filtered, good = shell_json(shown, "use sized; count_data -v prefix -z vvvvvvvvvvv -a")
    assert good and filtered["count"] == 20 and filtered["size"]["value"]["p50"] >= 1000
    short, good = shell_json(shown, "use sized; count_data -r 600 -b 7")
    assert good and short["count"] == 200 and short["complete"]
    wrong, good = shell_json(shown, "use sized; count_data -n 10001")
    assert not good and wrong["error"]["code"] == "InvalidArgument"
