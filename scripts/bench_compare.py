"""Runs get and set against a onebox of its own and against redis-server, and prints a table of ratios.

Load comes from each system's own generator: markab-bench and redis-benchmark. What is compared is the servers' CPU time
per operation, which a generator's cost does not touch: from the daemons' /metrics (entity server, process_cpu_us, summed
over the replica daemons) and from redis' INFO cpu. One redis process holds one copy; a set in Markab is written three
times, by three daemons.
"""
import argparse
import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BIN = os.environ.get("MARKAB_BIN") or os.path.join(REPOSITORY, "build", "release", "bin")
PORT_BASE = 28000  # below the range of outgoing connections, which would take one of them now and then
REPLICAS = ["127.0.0.1:%d" % (PORT_BASE + 201 + i) for i in range(3)]
META = "127.0.0.1:%d" % (PORT_BASE + 1)
REDIS_PORT = PORT_BASE + 399
GOALS = {"GET": (2.0, 1.3), "SET": (7.0, 4.5)}  # now, and the one that follows


class Result:
    def __init__(self, operations, seconds, rate, cpu_us, p50, p99, worst):
        self.operations, self.seconds, self.rate = operations, seconds, rate
        self.cpu_per_operation = cpu_us / operations
        self.cores = cpu_us / 1e6 / seconds
        self.p50, self.p99, self.worst = p50, p99, worst  # microseconds

    def as_json(self):
        return {k: round(v, 3) for k, v in vars(self).items()}


def say(text):
    print(text, flush=True)


# ---- markab --------------------------------------------------------------------------------------------------
def onebox(folder, command, *arguments):
    done = subprocess.run([os.path.join(REPOSITORY, "scripts", "onebox"), command, "--dir", folder, *arguments],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit("onebox %s failed:\n%s" % (command, done.stdout))


def cpu_of(address):
    with urllib.request.urlopen("http://%s/metrics?types=server&metrics=process_cpu_us" % address, timeout=10) as answer:
        entities = json.load(answer)["entities"]
    return next(m["value"] for e in entities for m in e["metrics"] if m["name"] == "process_cpu_us")


def markab(options, workload, seconds):
    before = sum(map(cpu_of, REPLICAS))
    done = subprocess.run(
        [os.path.join(BIN, "markab-bench"), "--meta", META, "--table", "temp", "--workload", workload, "--keys",
         str(options.keys), "--connections", str(options.connections), "--depth", str(options.depth), "--value-size",
         str(options.value_size), "--seconds", str(seconds), "--json"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit("markab-bench %s ended with %d:\n%s" % (workload, done.returncode, done.stdout))
    said = json.loads(done.stdout.strip().splitlines()[-1])
    cpu = sum(map(cpu_of, REPLICAS)) - before
    if said["errors"] or not said["operations"]:
        sys.exit("markab-bench %s: %d operations, %d errors" % (workload, said["operations"], said["errors"]))
    latency = said["latency_us"]
    return Result(said["operations"], said["seconds"], said["ops_per_second"], cpu, latency["p50"], latency["p99"],
                  latency["max"])


# ---- redis ---------------------------------------------------------------------------------------------------
class Redis:
    """Debian's server with appendonly yes, appendfsync everysec, no snapshots."""

    def __init__(self, folder):
        # The program of redis-server is redis-check-rdb under another name; the package redis-tools has the latter.
        program = shutil.which("redis-server") or shutil.which("redis-check-rdb")
        self.process = subprocess.Popen(
            ["redis-server", "--port", str(REDIS_PORT), "--bind", "127.0.0.1", "--dir", folder, "--appendonly", "yes",
             "--appendfsync", "everysec", "--save", "", "--daemonize", "no"],
            executable=program, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        end = time.monotonic() + 10
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", REDIS_PORT), timeout=10)
                break
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    sys.exit("redis-server does not start on port %d" % REDIS_PORT)
                time.sleep(0.02)

    def info(self, section):
        self.socket.sendall(b"INFO %s\r\n" % section.encode())
        data = b""
        while b"\r\n" not in data:
            data += self.socket.recv(65536)
        length = int(data[1:data.index(b"\r\n")])
        while len(data) < data.index(b"\r\n") + length + 4:
            data += self.socket.recv(65536)
        return dict(line.split(":", 1) for line in data.decode().split("\r\n") if ":" in line)

    def cpu_us(self):
        info = self.info("cpu")
        return 1e6 * sum(float(info[k]) for k in ("used_cpu_sys", "used_cpu_user", "used_cpu_sys_children",
                                                  "used_cpu_user_children"))

    def run(self, options, kind, seconds):
        # redis-benchmark counts operations, not seconds: a short run tells how many fill the time.
        rate = self._benchmark(options, kind, 50000)[1]
        before = self.cpu_us()
        operations = max(50000, int(rate * seconds))
        taken, rate, p50, p99, worst = self._benchmark(options, kind, operations)
        return Result(operations, taken, rate, self.cpu_us() - before, p50, p99, worst)

    def _benchmark(self, options, kind, operations):
        began = time.monotonic()
        done = subprocess.run(
            ["redis-benchmark", "-p", str(REDIS_PORT), "-t", kind.lower(), "-c", str(options.connections), "-P",
             str(options.depth), "-d", str(options.value_size), "-r", str(options.keys), "-n", str(operations), "--csv"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
        taken = time.monotonic() - began
        row = list(csv.DictReader(io.StringIO(done.stdout)))[-1]
        return (taken, float(row["rps"]), 1000 * float(row["p50_latency_ms"]), 1000 * float(row["p99_latency_ms"]),
                1000 * float(row["max_latency_ms"]))

    def stop(self):
        self.socket.close()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(10)


# ---- the table -----------------------------------------------------------------------------------------------
def print_table(options, results):
    with open("/proc/cpuinfo") as text:
        model = next((line.split(":", 1)[1].strip() for line in text if line.startswith("model name")), "?")
    say("")
    say("%d cores of %s; %d connections, depth %d, values of %d bytes, %d keys, %g s each." % (
        os.cpu_count(), model, options.connections, options.depth, options.value_size, options.keys, options.seconds))
    say("Markab: 3 replicas on 3 daemons of this machine, log_sync = %s. redis: one copy, appendonly, everysec." %
        options.log_sync)
    say("")
    say("%-22s %12s %9s %9s %9s %14s %7s" % ("", "operations/s", "p50 us", "p99 us", "max us", "server CPU us", "cores"))
    for kind in ("GET", "SET"):
        for system in ("markab", "redis"):
            r = results[kind][system]
            say("%-22s %12.0f %9.0f %9.0f %9.0f %14.2f %7.2f" % (
                "%s %s" % (system, kind.lower()), r.rate, r.p50, r.p99, r.worst, r.cpu_per_operation, r.cores))
    say("")
    for kind in ("GET", "SET"):
        ratio = results[kind]["markab"].cpu_per_operation / results[kind]["redis"].cpu_per_operation
        say("%s server CPU per operation, Markab to redis (goal %.1f, then %.1f): %.2f" % ((kind,) + GOALS[kind] + (ratio,)))


def compare(options):
    folder = tempfile.mkdtemp(prefix="markab-bench-", dir=options.dir)
    box = os.path.join(folder, "onebox")
    redis = None
    started = False
    try:
        say("== starting a onebox and redis-server")
        started = True
        onebox(box, "start", "--no-build", "--port-base", str(PORT_BASE), "--set",
               "replication.log_sync=" + options.log_sync)
        os.mkdir(os.path.join(folder, "redis"))
        redis = Redis(os.path.join(folder, "redis"))
        say("== filling %d keys" % options.keys)
        markab(options, "fill", options.seconds)
        redis._benchmark(options, "SET", options.keys)
        results = {"GET": {}, "SET": {}}
        for kind in ("GET", "SET"):
            say("== %s, markab" % kind.lower())
            results[kind]["markab"] = markab(options, kind.lower(), options.seconds)
            say("== %s, redis" % kind.lower())
            results[kind]["redis"] = redis.run(options, kind, options.seconds)
        print_table(options, results)
        if options.json:
            with open(options.json, "w") as out:
                json.dump({"log_sync": options.log_sync, "options": vars(options),
                           "results": {k: {s: r.as_json() for s, r in v.items()} for k, v in results.items()}}, out,
                          indent=2)
    finally:
        if redis is not None:
            redis.stop()
        if started:
            subprocess.run([os.path.join(REPOSITORY, "scripts", "onebox"), "stop", "--dir", box],
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Markab beside redis-server on this machine.")
    parser.add_argument("--seconds", type=float, default=10, help="of each measurement (10)")
    parser.add_argument("--keys", type=int, default=100000)
    parser.add_argument("--connections", type=int, default=50)
    parser.add_argument("--depth", type=int, default=1, help="requests in flight per connection (1)")
    parser.add_argument("--value-size", type=int, default=100)
    parser.add_argument("--log-sync", choices=["none", "interval", "always"], default="none",
                        help="Markab's durability (none: as Pegasus; always: its default)")
    parser.add_argument("--dir", help="where data go (the system's folder for temporary files)")
    parser.add_argument("--json", metavar="FILE", help="also write the figures there")
    parser.add_argument("--no-build", action="store_true", help="take the programs as they are")
    parser.add_argument("--smoke", action="store_true", help="two seconds each, a few keys: does it run?")
    options = parser.parse_args()
    if options.smoke:
        options.seconds, options.keys = 2, 10000
    # --seconds may be written as 2.5; the programs take whole ones.
    options.seconds = max(1, round(options.seconds))
    compare(options)


if __name__ == "__main__":
    main()
