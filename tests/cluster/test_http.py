"""HTTP on the daemons' own ports (spec 07 §3, §4)."""
import http.client
import json
import re
import socket
import time

import pytest

NAMES = ["meta1", "replica1"]


def get(box, name, path, connection=None):
    """(status, content type, body)"""
    own = connection or http.client.HTTPConnection(box.address(name), timeout=5)
    own.request("GET", path)
    answer = own.getresponse()
    body = answer.read()
    if connection is None:
        own.close()
    return answer.status, answer.getheader("Content-Type") or "", body


@pytest.mark.parametrize("name", NAMES)
def test_the_root_lists_the_paths(box, name):
    status, _, body = get(box, name, "/")
    assert status == 200
    assert {"/version", "/config", "/metrics"} <= set(json.loads(body))


@pytest.mark.parametrize("name", NAMES)
def test_version(box, name):
    status, _, body = get(box, name, "/version")
    assert status == 200
    said = json.loads(body)
    assert re.match(r"\d+\.\d+\.\d+", said["Version"]) and "GitCommit" in said


@pytest.mark.parametrize("name", NAMES)
def test_config_of_one_key(box, name):
    status, _, body = get(box, name, "/config?name=port")
    assert status == 200
    said = json.loads(body)
    assert said["name"] == "port" and said["section"] == "network"
    assert said["value"] == box.address(name).split(":")[1]
    status, _, body = get(box, name, "/config?name=nothing_of_that_name")
    assert status == 200 and body.startswith(b"ERR_OBJECT_NOT_FOUND")
    status, _, _ = get(box, name, "/config?name=")
    assert status == 400


@pytest.mark.parametrize("name", NAMES)
def test_all_configuration(box, name):
    status, _, body = get(box, name, "/configs")
    assert status == 200
    said = json.loads(body)
    assert said["log_sync" if name.startswith("replica") else "server_list"]["value"]
    assert all({"name", "section", "type", "tags", "description", "value"} <= set(entry) for entry in said.values())


@pytest.mark.parametrize("name", NAMES)
def test_metrics(box, name):
    first = json.loads(get(box, name, "/metrics")[2])
    second = json.loads(get(box, name, "/metrics")[2])
    for snapshot in (first, second):
        assert {"cluster", "role", "host", "port", "timestamp_ns", "entities"} <= set(snapshot)
        assert snapshot["role"] == name[:-1] and snapshot["port"] == int(box.address(name).split(":")[1])
        assert snapshot["cluster"] == "onebox"
    assert second["timestamp_ns"] > first["timestamp_ns"]
    server = next(e for e in second["entities"] if e["type"] == "server")
    cpu = next(m for m in server["metrics"] if m["name"] == "process_cpu_us")
    assert isinstance(cpu["value"], int) and cpu["value"] > 0


def test_metrics_filters(box):
    body = get(box, "replica1", "/metrics?types=server&metrics=process_cpu_us&with_metric_fields=name,value")[2]
    entities = json.loads(body)["entities"]
    assert [e["type"] for e in entities] == ["server"]
    assert [m["name"] for m in entities[0]["metrics"]] == ["process_cpu_us"]
    status, _, body = get(box, "replica1", "/metrics?nonsense=1")
    assert status == 400 and "unknown field nonsense=1" in json.loads(body)["error_message"]


@pytest.mark.parametrize("name", NAMES)
def test_metrics_for_prometheus(box, name):
    status, kind, body = get(box, name, "/metrics/prometheus")
    assert status == 200 and kind.startswith("text/plain")
    samples = [line for line in body.decode().splitlines() if line and not line.startswith("#")]
    assert samples and all(re.match(r"[a-zA-Z_:][\w:]*(\{.*\})? -?[\d.e+Na]+", line) for line in samples)
    assert any("process_cpu_us" in line for line in samples)


def test_requests_are_counted(box):
    def gets():
        entities = json.loads(get(box, "replica1", "/metrics?metrics=get_requests")[2])["entities"]
        return sum(m["value"] for e in entities for m in e["metrics"])
    import wire_client
    table = wire_client.Table(box.metas, "temp")
    table.refresh()
    mine = next(p for p, a in table.primaries.items() if a == box.address("replica1"))
    before = gets()
    for _ in range(10):
        table.get(wire_client.key_in_partition(mine, 8), b"none")
    # Counters of a shard may be folded in a moment later.
    end = time.monotonic() + 5
    while gets() < before + 10:
        assert time.monotonic() < end, (before, gets())
        time.sleep(0.05)


@pytest.mark.parametrize("name", NAMES)
def test_unknown_path(box, name):
    status, _, body = get(box, name, "/no/such/service")
    assert status == 404 and b'service not found for "no/such/service"' in body


def test_a_connection_serves_many_requests(box):
    connection = http.client.HTTPConnection(box.meta, timeout=5)
    for _ in range(20):
        assert get(box, "meta1", "/version", connection)[0] == 200
    connection.close()


def test_a_request_that_comes_in_pieces(box):
    host, port = box.meta.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as s:
        for piece in (b"GE", b"T /ver", b"sion HT", b"TP/1.1\r\nHo", b"st: x\r\n", b"\r\n"):
            s.sendall(piece)
            time.sleep(0.02)  # so that the pieces arrive apart
        assert s.recv(100).startswith(b"HTTP/1.1 200")
