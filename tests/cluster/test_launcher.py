"""scripts/onebox itself, with dummy daemons: what it starts, watches, reports and says. Needs no build."""
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
DUMMY = os.path.join(REPOSITORY, "tests", "cluster", "dummy")
PORT_BASE = 24000


class Launcher:
    def __init__(self, folder):
        self.bin = os.path.join(folder, "bin")
        self.dir = os.path.join(folder, "box")
        os.mkdir(self.bin)
        for name in ("markab-meta", "markab-replica"):
            shutil.copy(os.path.join(DUMMY, "daemon.py"), os.path.join(self.bin, name))
        shutil.copy(os.path.join(DUMMY, "shell.sh"), os.path.join(self.bin, "markab-shell"))

    def __call__(self, *arguments):
        return subprocess.run(
            [os.path.join(REPOSITORY, "scripts", "onebox"), arguments[0], "--dir", self.dir, *arguments[1:]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
            env=dict(os.environ, MARKAB_BIN=self.bin))

    def start(self, *arguments):
        return self("start", "--no-build", "--port-base", str(PORT_BASE), *arguments)

    def pid(self, name):
        with open(os.path.join(self.dir, name, "pid")) as text:
            return json.load(text)["pid"]

    def asked(self, prefix):
        """(time_ns, command) of the shell's calls that begin with prefix."""
        try:
            with open(os.path.join(self.bin, "asked")) as text:
                calls = [line.rstrip("\n").split(" ", 1) for line in text]
        except FileNotFoundError:
            return []
        return [(int(when), what) for when, what in calls if what.startswith(prefix)]

    def wait_asked(self, prefix, number):
        end = time.monotonic() + 10
        while len(self.asked(prefix)) < number:
            assert time.monotonic() < end, "the shell was not called with %r %d times" % (prefix, number)
            time.sleep(0.002)
        return self.asked(prefix)


@pytest.fixture
def launcher(tmp_path):
    it = Launcher(str(tmp_path))
    yield it
    it("stop")


def test_start_tells_what_to_try(launcher):
    began = time.monotonic()
    run = launcher.start()
    took = time.monotonic() - began
    assert run.returncode == 0, run.stdout
    for word in ("127.0.0.1:24001", "http://127.0.0.1:24001/", "onebox shell", "log_sync = interval"):
        assert word in run.stdout
    assert launcher.asked("create temp -p 8 -r 3")
    assert took < 2, "the launcher alone takes %.1f s" % took


def test_second_start_says_so(launcher):
    assert launcher.start().returncode == 0
    before = launcher.pid("meta1")
    run = launcher.start()
    assert run.returncode == 0 and "running already" in run.stdout
    assert launcher.pid("meta1") == before


def test_counts_ports_and_settings(launcher):
    run = launcher.start("--metas", "2", "--replicas", "5", "--set", "replication.log_sync=none",
                         "--set", "core.logging_start_level=LOG_LEVEL_DEBUG")
    assert run.returncode == 0, run.stdout
    assert "log_sync = none" in run.stdout and "127.0.0.1:24001,127.0.0.1:24002" in run.stdout
    with open("/proc/%d/cmdline" % launcher.pid("replica5")) as text:
        words = text.read().split("\0")
    assert "replication.log_sync=none" in words and "core.logging_start_level=LOG_LEVEL_DEBUG" in words
    with socket.create_connection(("127.0.0.1", 24205)):
        pass
    # A later start remembers the size.
    assert launcher("stop").returncode == 0
    run = launcher("start", "--no-build")
    assert run.returncode == 0 and "2 metas and 5 replica daemons" in run.stdout


def test_a_setting_goes_to_the_daemons_that_know_it(launcher):
    assert launcher.start("--set", "meta.only=1", "--set", "replica.only=2").returncode == 0

    def words(name):
        with open("/proc/%d/cmdline" % launcher.pid(name)) as text:
            return text.read().split("\0")
    assert "meta.only=1" in words("meta1") and "replica.only=2" not in words("meta1")
    assert "replica.only=2" in words("replica1") and "meta.only=1" not in words("replica1")


def test_a_setting_that_nobody_knows(launcher):
    run = launcher.start("--set", "nobody.knows=1")
    assert run.returncode == 1 and "--set nobody.knows=1 is refused" in run.stdout and "unknown key" in run.stdout
    assert launcher("status").returncode == 3
    assert launcher.start().returncode == 0, "what a refused start leaves behind must not be in the way"


def test_every_death_is_reported_at_once(launcher):
    assert launcher.start().returncode == 0
    delays = []
    for number, name in enumerate(["replica1", "replica2", "replica3"]):
        pid = launcher.pid(name)
        killed = time.time_ns()
        os.kill(pid, signal.SIGKILL)  # not by the launcher's own command
        when, what = launcher.wait_asked("report_death", number + 1)[-1]
        assert what == "report_death 127.0.0.1:2420%d" % (number + 1)
        delays.append((when - killed) / 1e6)
    with open(os.path.join(launcher.dir, "supervisor.log")) as text:
        events = [json.loads(line) for line in text]
    started = [e["after_ms"] for e in events if e["event"] == "report_started"]
    print("reports were on their way after %s ms" % delays)
    # A busy machine may delay one of them; the median must not be.
    assert sorted(delays)[1] < 20 and sorted(started)[1] < 20
    assert "dead: killed by SIGKILL" in launcher("status").stdout


def test_a_meta_is_not_reported_and_nothing_is_restarted(launcher):
    assert launcher.start().returncode == 0
    run = launcher("kill", "meta1")
    assert run.returncode == 0 and "killed by SIGKILL" in run.stdout
    assert launcher.asked("report_death") == []
    status = launcher("status")
    assert status.returncode == 1 and re.search(r"meta1 .*dead: killed by SIGKILL", status.stdout)


def test_a_report_that_nobody_took_is_repeated(launcher):
    assert launcher.start().returncode == 0
    refuse = os.path.join(launcher.bin, "refuse")
    open(refuse, "w").close()
    os.kill(launcher.pid("replica3"), signal.SIGKILL)
    launcher.wait_asked("report_death", 3)
    os.unlink(refuse)
    time.sleep(0.5)  # the time in which no further one may come is what is tested
    count = len(launcher.asked("report_death"))
    time.sleep(0.5)
    assert len(launcher.asked("report_death")) == count


def test_kill_and_restart(launcher):
    assert launcher.start().returncode == 0
    before = launcher.pid("replica2")
    run = launcher("kill", "replica2")
    assert run.returncode == 0 and "known there after" in run.stdout
    again = launcher("kill", "replica2")
    assert again.returncode == 1 and "not running" in again.stdout
    assert launcher("restart", "replica2").returncode == 0
    dead_started = launcher.pid("replica2")
    assert dead_started != before
    run = launcher("restart", "replica2")
    assert run.returncode == 0 and "ended in" in run.stdout and launcher.pid("replica2") != dead_started
    assert launcher("status").returncode == 0


def test_unknown_name_and_not_running(launcher):
    assert launcher("status").returncode == 3
    assert "no onebox" in launcher("kill", "replica1").stdout
    assert launcher.start().returncode == 0
    run = launcher("kill", "replica9")
    assert run.returncode == 1 and "meta1, replica1, replica2, replica3" in run.stdout


def test_stop_and_clear(launcher):
    assert launcher.start().returncode == 0
    refused = launcher("clear")
    assert refused.returncode == 1 and "stop first" in refused.stdout and os.path.isdir(launcher.dir)
    pids = [launcher.pid(n) for n in ("meta1", "replica1", "replica2", "replica3")]
    assert launcher("stop").returncode == 0
    assert not any(os.path.exists("/proc/%d" % p) for p in pids)
    assert launcher.asked("report_death") == []
    assert launcher("status").returncode == 3
    assert launcher("clear").returncode == 0 and not os.path.exists(launcher.dir)


def test_clear_removes_nothing_that_is_no_onebox(launcher):
    os.mkdir(launcher.dir)
    keep = os.path.join(launcher.dir, "thesis.txt")
    open(keep, "w").close()
    launcher("clear")
    assert os.path.exists(keep)
    run = launcher.start()
    assert run.returncode == 1 and "not empty" in run.stdout


def test_a_daemon_that_does_not_start_is_quoted(launcher):
    run = launcher.start("--set", "dummy.fail=replica2")
    assert run.returncode == 1
    assert "replica2 exited with code 1" in run.stdout and "not writable; choose another" in run.stdout
    assert launcher("status").returncode == 3, "the others must not be left behind"


def test_a_deaf_daemon_is_killed_at_last(launcher):
    assert launcher.start("--set", "dummy.deaf=replica1").returncode == 0
    run = launcher("stop")
    assert run.returncode == 1 and "replica1 did not end within" in run.stdout
    assert launcher("status").returncode == 3


def test_port_in_use(launcher):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", PORT_BASE + 202))
        taken.listen()
        run = launcher.start()
    assert run.returncode == 1 and "port 24202, meant for replica2, is in use" in run.stdout


def test_daemons_without_their_supervisor_can_be_ended(launcher):
    assert launcher.start().returncode == 0
    pid = launcher.pid("replica1")
    with open("/proc/%d/stat" % pid) as stat:
        supervisor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    while os.path.exists("/proc/%d" % supervisor):
        time.sleep(0.01)
    assert "supervisor" in launcher("status").stdout
    assert launcher.start().returncode == 1
    assert launcher("stop").returncode == 0
    assert not os.path.exists("/proc/%d" % pid) or open("/proc/%d/stat" % pid).read().split()[2] == "Z"


def test_logs(launcher):
    assert launcher.start().returncode == 0
    assert "listening as replica2" in launcher("logs", "replica2").stdout


@pytest.mark.parametrize("wrong", [["--metas", "0"], ["--set", "nothing"], ["--port-base", "70000"], ["--nonsense"]])
def test_wrong_arguments(launcher, wrong):
    run = launcher("start", "--no-build", *wrong)
    assert run.returncode == 2 and "usage:" in run.stdout
