"""Each table environment whose effect a client can see, seen by an unmodified Python client; and what an operator is told."""
import json
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
}


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


@pytest.mark.parametrize("group,name", [c for c in cases() if c[0].startswith("env_")])
def test_a_client_sees(driver, env_box, group, name):  # noqa: F811
    table = "%s_%s" % (driver.name, group)
    env_box.create(table)
    for key, value in ENVIRONMENTS[group].items():
        tell(env_box, table, key, value)
    said = driver.result(env_box, table, group, name)
    assert said["ok"], said["detail"]


def test_every_group_has_its_environments():
    assert {c[0] for c in cases() if c[0].startswith("env_")} == set(ENVIRONMENTS)


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
