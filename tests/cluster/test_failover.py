"""Death and return of replica daemons under load: how long service is away, and that nothing acknowledged is lost."""
import json
import os
import random
import signal
import time
import urllib.request

import pytest

from load import Load
from onebox import wait_until

PARTITIONS = 8
SERVICE_SECONDS = 1.0
KILL_ROUNDS = int(os.environ.get("MARKAB_KILL_ROUNDS", "20"))
ALL_KILLED_ROUNDS = int(os.environ.get("MARKAB_ALL_KILLED_ROUNDS", "5"))


def lease_seconds(box):
    """The longest that the cluster waits for a death that nobody reports: the meta server's grace."""
    with urllib.request.urlopen("http://%s/config?name=fd_grace_seconds" % box.meta, timeout=5) as answer:
        return int(json.load(answer)["value"])


def assert_served(load, since, limit, record_property):
    gaps = {(kind, p): load.gap(p, kind, since) for p in range(PARTITIONS) for kind in ("read", "write")}
    record_property("longest time without a read, seconds", round(max(g for (k, _), g in gaps.items() if k == "read"), 3))
    record_property("longest time without a write, seconds",
                    round(max(g for (k, _), g in gaps.items() if k == "write"), 3))
    late = {"%s of partition %d" % key: round(gap, 2) for key, gap in gaps.items() if gap > limit}
    assert not late, "longer than %.1f s without service: %s" % (limit, late)


def test_service_within_a_second_of_a_kill(box, record_property):
    with Load(box, "temp", PARTITIONS, by_partition=True, attempt_seconds=5) as load:
        time.sleep(1)
        since = time.monotonic()
        box.kill("replica2")
        time.sleep(4)
    assert_served(load, since, SERVICE_SECONDS, record_property)
    assert load.verify() == []
    box.restart("replica2")
    box.wait_healthy("temp")


def test_service_within_a_second_whoever_kills(box, record_property):
    """As above, but not by the launcher's command: its supervisor must see the death by itself."""
    with Load(box, "temp", PARTITIONS, by_partition=True, attempt_seconds=5, prefix="who") as load:
        time.sleep(1)
        since = time.monotonic()
        box.send("replica3", signal.SIGKILL)
        time.sleep(4)
    assert_served(load, since, SERVICE_SECONDS, record_property)
    started = [e["after_ms"] for e in box.events() if e["event"] == "report_started"]
    record_property("report on its way after, ms", started[-1])
    assert load.verify() == []
    box.restart("replica3")
    box.wait_healthy("temp")


def test_service_after_the_lease_when_the_report_is_lost(box, record_property):
    limit = lease_seconds(box) + SERVICE_SECONDS
    supervisor = box.supervisor_pid()
    with Load(box, "temp", PARTITIONS, by_partition=True, seconds=limit + 10, attempt_seconds=5,
              prefix="lost") as load:
        time.sleep(1)
        since = time.monotonic()
        os.kill(supervisor, signal.SIGSTOP)
        try:
            box.send("replica1", signal.SIGKILL)
            time.sleep(limit + 1)
        finally:
            os.kill(supervisor, signal.SIGCONT)
    assert_served(load, since, limit, record_property)
    assert load.verify() == []
    box.restart("replica1")
    box.wait_healthy("temp")


@pytest.mark.parametrize("name", ["replica2", "replica1"])
def test_a_graceful_restart_costs_latency_only(box, name, record_property):
    with Load(box, "temp", PARTITIONS, by_partition=True, prefix="grace_" + name) as load:
        time.sleep(1)
        since = time.monotonic()
        said = box.restart(name)
        box.wait_healthy("temp")
        time.sleep(1)
    record_property("slowest operation, seconds", round(load.longest(since), 3))
    record_property("operations", load.operations())
    assert load.errors() == []
    assert load.verify() == []
    assert "did not end" not in said


def test_kill_rounds(own_box, record_property):
    """SIGKILL to a random daemon, again and again; no acknowledged write may be missing after any round."""
    box = own_box()
    seed = int(os.environ.get("MARKAB_SEED", time.time()))
    record_property("seed", seed)
    choose = random.Random(seed)
    for number in range(KILL_ROUNDS):
        with Load(box, "temp", 6, seconds=15, prefix="round%d_" % number) as load:
            time.sleep(choose.uniform(0.2, 1.0))
            name = choose.choice(box.names())
            box.send(name, signal.SIGKILL)
            time.sleep(choose.uniform(0.2, 1.0))
            wait_until(5, lambda: box.pid(name) is None)
            box.restart(name)
            box.wait_healthy("temp", 60)
        lost = load.verify()
        assert lost == [], "round %d (%s killed), seed %d: %s" % (number + 1, name, seed, lost[:10])
    record_property("rounds without a lost write", KILL_ROUNDS)


def test_everything_killed_at_once(own_box, record_property):
    """log_sync = always: whatever was acknowledged is on disk, also when nobody is left to tell."""
    box = own_box("--set", "replication.log_sync=always")
    written = 0
    for number in range(ALL_KILLED_ROUNDS):
        with Load(box, "temp", 6, seconds=60, prefix="all%d_" % number) as load:
            time.sleep(random.uniform(0.2, 2))
            box.kill_everything_at_once()
            for name in box.names():
                box.restart(name)
            box.wait_healthy("temp", 60)
        written += load.acknowledged_writes()
        lost = load.verify()
        assert lost == [], "round %d: %s" % (number + 1, lost[:10])
    record_property("rounds", ALL_KILLED_ROUNDS)
    record_property("acknowledged writes, none lost", written)


def test_everything_stopped_and_started(own_box):
    box = own_box()
    with Load(box, "temp", 4) as load:
        time.sleep(1)
    box.stop()
    box.start()
    assert load.errors() == []
    assert load.verify() == []
    # Neither ids nor ballots may go backwards: clients keep what they have cached (01 §12.3).
    with Load(box, "temp", 4, prefix="after") as after:
        time.sleep(0.5)
    assert after.errors() == []
