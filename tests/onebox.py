"""A onebox for tests against real daemons: started with the project's own launcher, in a folder and on ports of its own.

Programs come from MARKAB_BIN, else from build/release/bin. Imported by the suites in interop and cluster.
"""
import json
import os
import random
import signal
import socket
import subprocess
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("MARKAB_BIN") or os.path.join(REPOSITORY, "build", "release", "bin")
LAUNCHER = os.path.join(REPOSITORY, "scripts", "onebox")


def free_port_base():
    """A --port-base whose ports nobody uses now. Below the kernel's range for outgoing connections, which would
    otherwise take one of them between this look and the daemon's start."""
    for _ in range(1000):
        base = random.randrange(10000, 32000, 400)
        taken = []
        try:
            for port in [base + i for i in range(1, 9)] + [base + i for i in range(201, 209)]:
                probe = socket.socket()
                taken.append(probe)
                probe.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
        finally:
            for probe in taken:
                probe.close()
    raise RuntimeError("no free ports between 10000 and 32000")


class Box:
    """Started by the constructor, which raises when the cluster does not come up."""

    def __init__(self, folder, port_base, *arguments, metas=1, replicas=3):
        self.dir = os.path.join(str(folder), "box")
        self.port_base = port_base
        self.metas = ["127.0.0.1:%d" % (port_base + 1 + i) for i in range(metas)]
        self.replicas = ["127.0.0.1:%d" % (port_base + 201 + i) for i in range(replicas)]
        self.meta = self.metas[0]
        self.arguments = ["--no-build", "--port-base", str(port_base), "--metas", str(metas), "--replicas",
                          str(replicas), *arguments]
        self.start()

    # ---- the launcher's commands -----------------------------------------------------------------------------
    def run(self, command, *arguments, timeout=120):
        return subprocess.run([LAUNCHER, command, "--dir", self.dir, *arguments], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              env=dict(os.environ, MARKAB_BIN=BIN))

    def must(self, command, *arguments):
        done = self.run(command, *arguments)
        if done.returncode != 0:
            raise RuntimeError("onebox %s %s ended with %d:\n%s" % (command, " ".join(arguments), done.returncode,
                                                                   done.stdout))
        return done.stdout

    def start(self):
        self.start_output = self.must("start", *self.arguments)

    def stop(self):
        return self.must("stop")

    def kill(self, name):
        return self.must("kill", name)

    def restart(self, name):
        return self.must("restart", name)

    def shell(self, command, timeout=60):
        """Runs shell commands; returns their output, raises when the last one failed."""
        done = subprocess.run([os.path.join(BIN, "markab-shell"), "--meta", ",".join(self.metas), "-c", command],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError("the shell failed at %r:\n%s" % (command, done.stdout))
        return done.stdout

    def create(self, table, partitions=8, replicas=3):
        self.shell("create %s -p %d -r %d" % (table, partitions, replicas))

    def wait_healthy(self, table, seconds=30):
        self.shell("wait_healthy %s -t %d" % (table, seconds), timeout=seconds + 30)

    # ---- processes -------------------------------------------------------------------------------------------
    def names(self):
        return ["meta%d" % (i + 1) for i in range(len(self.metas))] + self.replica_names()

    def replica_names(self):
        return ["replica%d" % (i + 1) for i in range(len(self.replicas))]

    def address(self, name):
        number = int(name.lstrip("metarplic")) - 1
        return (self.metas if name.startswith("meta") else self.replicas)[number]

    def pid(self, name):
        """None when it does not run."""
        try:
            with open(os.path.join(self.dir, name, "pid")) as text:
                return json.load(text)["pid"]
        except FileNotFoundError:
            return None

    def supervisor_pid(self):
        return int(_stat(self.pid("meta1"))[1])

    def send(self, name, number):
        os.kill(self.pid(name), number)

    def kill_everything_at_once(self):
        """SIGKILL to all daemons with nothing in between."""
        pids = [self.pid(n) for n in self.names()]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        wait_until(10, lambda: all(self.pid(n) is None for n in self.names()))

    def resident_mib(self, name):
        return _status(self.pid(name), "VmRSS") / 1024

    def threads(self, name):
        return _status(self.pid(name), "Threads")

    def log(self, name):
        with open(os.path.join(self.dir, name, name + ".log"), errors="replace") as text:
            return text.read()

    def events(self):
        """What the supervisor wrote down."""
        with open(os.path.join(self.dir, "supervisor.log")) as text:
            return [json.loads(line) for line in text]


def wait_until(seconds, condition, step=0.005):
    """Waits for a condition of the outside world; an AssertionError when it does not come true in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not true within %s s" % seconds
        time.sleep(step)


def _stat(pid):
    with open("/proc/%d/stat" % pid) as text:
        return text.read().rpartition(")")[2].split()


def _status(pid, key):
    with open("/proc/%d/status" % pid) as text:
        return int(dict(line.split(":", 1) for line in text)[key].split()[0])


def cpu_seconds(pid):
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
