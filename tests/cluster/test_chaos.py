"""Rounds of faults against real daemons while several clients write down what they see; whether that is linearizable is
judged by Porcupine (chaos/judge). MARKAB_CHAOS_ROUNDS rounds (15: each fault once), MARKAB_CHAOS_SEED repeats a choice
of faults.

Budget: about 9 s a round; 3 minutes in all.
"""
import glob
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "chaos"))
import netbox  # noqa: E402
import small_disk  # noqa: E402
from onebox import BIN, wait_until  # noqa: E402

ROUNDS = int(os.environ.get("MARKAB_CHAOS_ROUNDS", "15"))
SEED = int(os.environ.get("MARKAB_CHAOS_SEED", random.randrange(1 << 32)))
CLIENTS = 5
PARTITIONS = 4
CALM_SECONDS = 1.5


# ---- faults: each leaves the cluster whole again ---------------------------------------------------------------
def kill_one(box, dice):
    node = dice.choice(box.replicas)
    node.kill()
    if dice.random() < 0.5:  # its supervisor saw it; else the lease must run out
        box.shell("report_death %s" % node.address)
    time.sleep(dice.uniform(0.1, 3))
    node.start()


def kill_two(box, dice):
    nodes = dice.sample(box.replicas, 2)
    for node in nodes:
        node.kill()
    time.sleep(dice.uniform(0, 1.5))
    for node in nodes:
        node.start()


def kill_all(box, dice):
    for node in box.replicas:
        node.send(signal.SIGKILL)
    for node in box.replicas:
        node.process.wait()
        node.start()


def kill_meta(box, dice):
    box.meta.kill()
    time.sleep(dice.uniform(0, 3))
    box.meta.start()


def restart_one(box, dice):
    node = dice.choice(box.replicas)
    node.stop()
    node.start()


def _pause(node, seconds):
    node.send(signal.SIGSTOP)
    time.sleep(seconds)
    node.send(signal.SIGCONT)


def nap(box, dice):
    _pause(dice.choice(box.replicas), dice.uniform(1, 3))


def sleep_through_the_lease(box, dice):
    _pause(dice.choice(box.replicas), 8)


def cut_two_replicas(box, dice):
    a, b = dice.sample(box.replicas, 2)
    box.cut(a, b)
    time.sleep(dice.uniform(2, 6))
    box.heal()


def cut_one_way(box, dice):
    a, b = dice.sample(box.replicas, 2)
    box.cut(a, b, both=False)
    time.sleep(dice.uniform(2, 6))
    box.heal()


def cut_off_from_the_meta(box, dice):
    box.cut(dice.choice(box.replicas), box.meta, both=dice.random() < 0.5)
    time.sleep(8)
    box.heal()


def isolate_from_servers(box, dice):
    """Its clients still reach it: it must not serve them for longer than its lease."""
    node = dice.choice(box.replicas)
    for other in [box.meta, *box.replicas]:
        if other is not node:
            box.cut(node, other)
    time.sleep(8)
    box.heal()


def fill_a_disk(box, dice):
    filler = small_disk.fill(dice.choice(box.replicas).disk())
    time.sleep(dice.uniform(1, 4))
    os.remove(filler)


def fill_every_disk_and_kill_one(box, dice):
    """Its log ends where the disk did; now and then it starts before there is space again."""
    fillers = [small_disk.fill(node.disk()) for node in box.replicas]
    time.sleep(dice.uniform(0.5, 2))
    node = dice.choice(box.replicas)
    node.kill()
    early = dice.random() < 0.7
    if early:
        node.start()
        time.sleep(2)
    for filler in fillers:
        os.remove(filler)
    if not early:
        node.start()


def _flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x10]))


# Rot lies hidden until it is read. It comes to one node only, the same in all rounds: rows that rot everywhere are lost,
# and nobody's fault.
def rot_a_running_store(box, dice):
    """All over the table files of that node."""
    box.shell("remote_command -t replica-server replica.trigger-checkpoint")
    node = box.replicas[-1]
    for path in glob.glob(node.disk() + "/replica/reps/*.pegasus/data/rdb/*.sst"):
        try:
            for at in range(16, os.path.getsize(path), 512):
                _flip(path, at)
        except FileNotFoundError:
            pass  # a compaction was faster
    time.sleep(dice.uniform(0, 2))


def rot_a_log(box, dice):
    """In the middle of what that node, which was down, has written last."""
    node = box.replicas[-1]
    node.kill()
    segments = glob.glob(node.disk() + "/replica/reps/*.pegasus/plog/log.*")
    for path in segments:
        _flip(path, dice.randrange(os.path.getsize(path) // 4, os.path.getsize(path) // 2))
    assert segments, "no log below " + node.disk()
    node.start()


DISK_FAULTS = [fill_a_disk, fill_every_disk_and_kill_one]  # need small disks
FAULTS = [rot_a_running_store, rot_a_log, kill_one, kill_two, kill_all, kill_meta, restart_one, nap, sleep_through_the_lease, cut_two_replicas,
          cut_one_way, cut_off_from_the_meta, isolate_from_servers]
DISK_MIB = 192
# Stores are flushed, and logs trimmed, while the clients write.
SETTINGS = ["replication.log_sync=interval", "replication.log_private_file_size_mb=1", "replication.log_flush_mb=1"]


GO = "/usr/bin/go" if os.path.exists("/usr/bin/go") else shutil.which("go")
IN_JUDGE = {"cwd": os.path.join(HERE, "chaos", "judge"), "text": True, "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT,
            "env": dict(os.environ, GOTOOLCHAIN="local", GOFLAGS="-mod=readonly")}


# ---- the run -----------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    """The path of the judge's program."""
    if GO is None:
        pytest.skip("golang is not installed: nothing judges the histories")
    out = str(tmp_path_factory.mktemp("judge") / "judge")
    done = subprocess.run([GO, "build", "-o", out, "."], **IN_JUDGE, timeout=300)
    if done.returncode != 0 and ("dial tcp" in done.stdout or "lookup" in done.stdout):
        pytest.skip("the Go module registry is out of reach")
    assert done.returncode == 0, done.stdout
    return out


def test_the_judge_reduces_rightly(judge):
    """Its own tests: histories with operations that got no answer are judged in time, and as whole ones are."""
    done = subprocess.run([GO, "test", "-v", "."], **IN_JUDGE, timeout=120)
    print(done.stdout)
    assert done.returncode == 0, done.stdout


def judged(judge, history, pictures=None):
    """(the judge's words, its exit code)."""
    done = subprocess.run([judge, *([pictures] if pictures else [])], stdin=history, stdout=subprocess.PIPE, text=True,
                          timeout=600)
    return json.loads(done.stdout), done.returncode


def test_the_judge_can_find_fault(judge, tmp_path):
    """A value that was overwritten is read again; and a lost increment."""
    def entry(key, op, argument, result, call, unknown=False):
        return json.dumps({"client": call, "key": key, "op": op, "argument": argument, "result": result, "call": call,
                           "return": call + 1, "unknown": unknown}) + "\n"
    good = [entry("a", "put", "1", "", 0), entry("a", "put", "2", "", 10, unknown=True), entry("a", "get", "", "1", 20),
            entry("a", "get", "", "2", 30), entry("a", "cas", "2 3", "true", 40), entry("a", "cas", "2 4", "false", 50),
            entry("n", "incr", "", "1", 0), entry("n", "incr", "", "", 10, unknown=True), entry("n", "incr", "", "3", 20)]
    stale, lost = [entry("a", "get", "", "2", 60)], [entry("n", "incr", "", "3", 60)]
    for lines, code, bad in [(good, 0, []), (good + stale, 1, ["a"]), (good + lost, 1, ["n"])]:
        path = tmp_path / "history"
        path.write_text("".join(lines))
        with open(path) as history:
            words, got = judged(judge, history)
        assert (got, words["bad_keys"]) == (code, bad)


def test_histories_under_faults_are_linearizable(judge, tmp_path, record_property):
    missing = netbox.unavailable()
    if missing:
        pytest.skip(missing)
    dice = random.Random(SEED)
    print("MARKAB_CHAOS_SEED=%d" % SEED)
    box = netbox.NetBox(tmp_path, BIN, settings=SETTINGS, disk_mib=DISK_MIB)
    faults, known = [], FAULTS + (DISK_FAULTS if box.small_disks else [])
    try:
        def created():
            try:
                box.shell("create chaos -p %d -r 3" % PARTITIONS)
                return True
            except RuntimeError:
                return False
        wait_until(30, created, 0.3)
        box.shell("wait_healthy chaos -t 30")
        with open(tmp_path / "history", "w") as history:
            clients = box.inside([sys.executable, os.path.join(HERE, "chaos", "clients.py"), box.meta.address, "chaos",
                                  str(CLIENTS)], stdin=subprocess.PIPE, stdout=history, text=True)
            try:
                for number in range(ROUNDS):
                    if number % len(known) == 0:
                        order = dice.sample(known, len(known))
                    fault = order[number % len(known)]
                    clients.stdin.write("round %d\n" % number)
                    clients.stdin.flush()
                    time.sleep(CALM_SECONDS)
                    fault(box, dice)
                    faults.append(fault.__name__)
                    box.shell("wait_healthy chaos -t 60", timeout=90)
                    time.sleep(CALM_SECONDS)
            finally:
                clients.stdin.close()
                clients.wait(60)
            assert clients.returncode == 0
    finally:
        box.close()
    os.makedirs(tmp_path / "pictures")
    with open(tmp_path / "history") as history:
        entries = [json.loads(line) for line in history]
        history.seek(0)
        words, code = judged(judge, history, str(tmp_path / "pictures"))
    record_property("rounds", len(faults))
    record_property("faults", " ".join(faults))
    if not box.small_disks:
        record_property("left out, as no small disk can be mounted here", " ".join(f.__name__ for f in DISK_FAULTS))
    record_property("operations judged", words["operations"])
    record_property("of them without an answer", sum(e["unknown"] for e in entries if e["op"] != "get"))
    record_property("seed", SEED)
    assert code == 0, "%s; MARKAB_CHAOS_SEED=%d; pictures of the keys in %s" % (words, SEED, tmp_path / "pictures")
    assert words["operations"] > 100 * len(faults)
