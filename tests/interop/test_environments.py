"""Each table environment whose effect a client can see, seen by an unmodified Python client; and what an operator is told."""
import json
import time
import urllib.request

import pytest

from onebox import Box, free_port_base, wait_until
from test_python_clients import cases, driver  # noqa: F401: a fixture

SYNC_MS = 300
# The environments of each group of pegasus_driver.py. Eight partitions share what is counted.
ENVIRONMENTS = {
    "env_default_ttl": {"default_ttl": "100"},
    "env_deny_write": {"replica.deny_client_request": "timeout*write"},
    "env_deny_read": {"replica.deny_client_request": "reconfig*read"},
    "env_write_throttling": {"replica.write_throttling": "8*reject*1"},
    "env_read_throttling": {"replica.read_throttling": "8*reject*1"},
    "env_write_delay": {"replica.write_throttling": "8*delay*300"},
    "env_write_bytes": {"replica.write_throttling_by_size": "8000*reject*1"},
    "env_read_bytes": {"replica.read_throttling_by_size": "8000"},
    "env_iteration_time": {"replica.rocksdb_iteration_threshold_time_ms": "1"},
    "env_partition_hash": {"replica.split.validate_partition_hash": "true"},
}
# What a client cannot see, and where it is shown instead.
ELSEWHERE = {
    "business.info": "tells people something",
    "duplication.follower_app_status": "docs/compatibility.md: set by a cluster that duplicates",
    "duplication.master_app_name": "the same",
    "duplication.master_cluster": "the same",
    "duplication.master_metas": "the same",
    "manual_compact.disabled": "tests/cluster/test_shell.py",
    "manual_compact.max_concurrent_running_count": "tests/unit/replica/manual_compaction_test.cc",
    "manual_compact.once.bottommost_level_compaction": "tests/cluster/test_shell.py",
    "manual_compact.once.target_level": "tests/unit/engine/store_test.cc",
    "manual_compact.periodic.bottommost_level_compaction": "tests/unit/replica/manual_compaction_test.cc",
    "manual_compact.periodic.target_level": "tests/unit/replica/manual_compaction_test.cc",
    "manual_compact.periodic.trigger_time": "tests/unit/replica/manual_compaction_test.cc",
    "replica.backup_request_throttling": "tests/sim/testdata/admission/throttling.txt: Python makes no backup requests",
    "replica.rocksdb_block_cache_enabled": "tests/unit/engine/engine_test.cc",
    "replica.slow_query_threshold": "tests/unit/replica/slow_reads_test.cc",
    "replica_access_controller.allowed_users": "tests/security: Python cannot authenticate",
    "replica_access_controller.ranger_policies": "docs/security.md",
    "rocksdb.allow_ingest_behind": "tests/unit/engine/store_test.cc",
    "rocksdb.checkpoint.reserve_min_count": "docs/differences.md: without effect",
    "rocksdb.checkpoint.reserve_time_seconds": "docs/differences.md: without effect",
    "rocksdb.num_levels": "tests/unit/engine/store_test.cc",
    "rocksdb.usage_scenario": "tests/unit/engine/store_test.cc",
    "rocksdb.write_buffer_size": "tests/unit/engine/store_test.cc",
}
RULES = {"ops": [
    {"type": "COT_DELETE", "params": "", "rules": [
        {"type": "FRT_HASHKEY_PATTERN", "params": json.dumps({"pattern": "gone_", "match_type": "SMT_MATCH_PREFIX"})}]},
    {"type": "COT_UPDATE_TTL", "params": json.dumps({"type": "UTOT_FROM_CURRENT", "value": 500}), "rules": [
        {"type": "FRT_HASHKEY_PATTERN", "params": json.dumps({"pattern": "longer", "match_type": "SMT_MATCH_ANYWHERE"})}]}]}


@pytest.fixture(scope="module")
def env_box(tmp_path_factory):
    box = Box(tmp_path_factory.mktemp("environments"), free_port_base(),
              "--set", "replication.config_sync_interval_ms=%d" % SYNC_MS)
    yield box
    box.stop()


def table_id(box, table):
    tables = json.loads(box.shell("ls -j"))["general_info"]
    return int([i for i, t in tables.items() if t["app_name"] == table][0])


def tell(box, table, name, value):
    """Sets the environment and waits until all 24 replicas know it."""
    box.shell("use %s; set_app_envs %s %s" % (table, name, value))
    ask = "remote_command -t replica-server replica.query-app-envs %d" % table_id(box, table)
    wait_until(20, lambda: box.shell(ask).count("%s=%s" % (name, value)) == 24, 0.1)


def seen_at_once():
    return [c for c in cases() if c[0].startswith("env_") and not c[0].startswith("env_compaction")]


@pytest.mark.parametrize("group,name", seen_at_once())
def test_a_client_sees(driver, env_box, group, name):  # noqa: F811
    table = "%s_%s" % (driver.name, group)
    env_box.create(table)
    for key, value in ENVIRONMENTS[group].items():
        tell(env_box, table, key, value)
    said = driver.result(env_box, table, group, name)
    assert said["ok"], said["detail"]


def test_a_client_sees_what_a_compaction_did(driver, env_box):  # noqa: F811
    table = "%s_compaction" % driver.name
    env_box.create(table)
    said = driver.result(env_box, table, "env_compaction_before", "rows_are_written")
    assert said["ok"], said["detail"]
    tell(env_box, table, "default_ttl", "1000")
    env_box.shell("use %s; set_app_envs user_specified_compaction '%s'" % (table, json.dumps(RULES)))
    ask = "remote_command -t replica-server replica.query-app-envs %d" % table_id(env_box, table)
    wait_until(20, lambda: env_box.shell(ask).count("user_specified_compaction=") == 24, 0.1)
    env_box.shell("use %s; set_app_envs manual_compact.once.trigger_time %d" % (table, time.time()))
    wait_until(60, lambda: compacted(env_box, table), 0.3)
    said = driver.result(env_box, table, "env_compaction_after", "rows_that_the_rules_name_are_changed")
    assert said["ok"], said["detail"]


def compacted(box, table):
    """Whether each of the 24 replicas tells when its compaction ended."""
    answer = box.shell("remote_command -t replica-server replica.query-compact %d" % table_id(box, table))
    found = [part.split(",")[0] for part in answer.replace("\\", "").split("last_finish")[1:]]
    return len(found) == 24 and not any('"-"' in f for f in found)


def test_every_environment_is_seen_or_said_why_not(env_box):
    assert {c[0] for c in seen_at_once()} == set(ENVIRONMENTS)
    seen = {name for envs in ENVIRONMENTS.values() for name in envs}
    seen |= {"default_ttl", "user_specified_compaction", "manual_compact.once.trigger_time"}
    with urllib.request.urlopen("http://%s/envs/list" % env_box.meta, timeout=10) as page:
        known = set(json.load(page))
    for name in sorted(known - seen - set(ELSEWHERE)):
        pytest.fail("no client sees %s, and nobody says why" % name)
    assert not seen & set(ELSEWHERE)
    assert not (seen | set(ELSEWHERE)) - known, (seen | set(ELSEWHERE)) - known


def test_a_bad_value_is_refused_with_what_is_allowed(env_box):
    env_box.create("refused")
    with pytest.raises(RuntimeError) as refused:
        env_box.shell("use refused; set_app_envs replica.write_throttling 20*sometimes*100")
    assert "20*sometimes*100" in str(refused.value) and "<units>*delay*<milliseconds>" in str(refused.value)
    with pytest.raises(RuntimeError) as unknown:
        env_box.shell("use refused; set_app_envs replica.write_throttlin 20*delay*100")
    assert "replica.write_throttlin" in str(unknown.value)
    assert "write_throttl" not in env_box.shell("use refused; get_app_envs")


def counters(box, table_id, name):
    total = 0
    for replica in box.replicas:
        with urllib.request.urlopen("http://%s/metrics?types=replica&metrics=%s" % (replica, name), timeout=10) as page:
            for entity in json.load(page)["entities"]:
                if entity["attributes"]["table_id"] == str(table_id):
                    total += sum(m["value"] for m in entity["metrics"] if m["name"] == name)
    return total


def test_capacity_units_are_charged(env_box):
    env_box.create("charged")
    table = table_id(env_box, "charged")
    names = ("write_capacity_units", "read_capacity_units", "get_bytes", "put_bytes")
    before = [counters(env_box, table, name) for name in names]
    env_box.shell("use charged; set k s v; get k absent; get k s")
    after = [counters(env_box, table, name) for name in names]
    # A row is two bytes of length, k, s and v; the absent one has no bytes, but costs a unit.
    assert [b - a for a, b in zip(before, after)] == [1, 2, 5, 5]
