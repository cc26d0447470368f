"""The commands of scripts/onebox. Standard library only, so that a bare Debian 12 can run it."""
import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import onebox_supervisor
from onebox_layout import DEFAULT_PORT_BASE, HOST, STATE_FILE, Onebox

REPOSITORY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
START_SECONDS = 60     # until the table must take writes
EXIT_SECONDS = 10      # between SIGTERM and SIGKILL; daemons drain within 5
TABLE, PARTITIONS, REPLICA_COUNT = "temp", 8, 3

EPILOG = """NAME is meta1, replica2 and so on.

  scripts/onebox start                     build, start 1 meta and 3 replica daemons, create the table temp
  scripts/onebox shell                     talk to it
  scripts/onebox kill replica2             SIGKILL; the other two go on serving
  scripts/onebox restart replica2
  scripts/onebox stop; scripts/onebox clear

A second one beside it: scripts/onebox start --dir /tmp/other --port-base 35600
"""


class Failure(Exception):
    """One sentence for the person at the terminal."""


def say(text):
    print(text, flush=True)


class Control:
    """A connection to the supervisor of a folder."""

    def __init__(self, root):
        # The path is relative since a socket's path is limited to 107 bytes.
        before = os.getcwd()
        os.chdir(root)
        try:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(onebox_supervisor.CONTROL_SOCKET)
        finally:
            os.chdir(before)
        self.input = self.socket.makefile("rb")

    def ask(self, timeout=30, **request):
        self.socket.settimeout(timeout)
        self.socket.sendall(json.dumps(request).encode() + b"\n")
        line = self.input.readline()
        if not line:
            raise Failure("the supervisor has gone; see supervisor.err in the onebox' folder")
        return json.loads(line)

    def must(self, **request):
        reply = self.ask(**request)
        if "error" in reply:
            raise Failure(reply["error"])
        return reply


def wait_until(seconds, step, condition):
    """Calls condition every `step` seconds until it is true; False when the time is up."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= end:
            return False
        time.sleep(step)
    return True


def listens(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((HOST, port)) == 0


def is_port_free(port):
    with socket.socket() as s:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            s.bind((HOST, port))
            return True
        except OSError:
            return False


def alive_nodes(box):
    """The replica daemons that the leading meta counts as alive; empty as long as none leads."""
    run = subprocess.run(box.shell("nodes"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    if run.returncode != 0:
        return set()
    found = set()
    for line in run.stdout.splitlines():
        address = re.search(r"\d+\.\d+\.\d+\.\d+:\d+", line)
        if address and re.search(r"\bALIVE\b", line):
            found.add(address.group())
    return found


def how_it_ended(state):
    if "signal" in state:
        return "killed by %s" % signal.Signals(state["signal"]).name
    return "exited with code %d" % state["exit_code"]


def last_words(daemon):
    """The sentence that a daemon left on standard error, else the end of its log."""
    for path in (daemon.stderr, daemon.log):
        try:
            with open(path, errors="replace") as text:
                lines = [line.rstrip() for line in text if line.strip()]
        except FileNotFoundError:
            continue
        if lines:
            return "\n".join(lines[-5:])
    return "it left no message; see %s" % daemon.folder


def loaded(root):
    box = Onebox.load(root)
    if box is None:
        raise Failure("there is no onebox in %s; scripts/onebox start makes one" % root)
    return box


def running(root):
    box = loaded(root)
    if not onebox_supervisor.is_running(box.root):
        raise Failure("the onebox in %s is not running; scripts/onebox start starts it" % root)
    return box, Control(box.root)


def orphans(box):
    """(daemon, pid) of daemons that live though their supervisor does not."""
    found = []
    for daemon in box.daemons:
        try:
            with open(daemon.pid_file) as text:
                noted = json.load(text)
        except (FileNotFoundError, ValueError):
            continue
        if noted["start"] is not None and onebox_supervisor.process_start(noted["pid"]) == noted["start"]:
            found.append((daemon, noted["pid"]))
    return found


# ---- start ---------------------------------------------------------------------------------------------------
def start(options):
    began = time.monotonic()
    root = os.path.abspath(options.dir)
    earlier = Onebox.load(root)
    if earlier is not None and onebox_supervisor.is_running(root):
        say("The onebox in %s is running already:" % root)
        print_status(earlier, Control(root))
        print_hints(earlier)
        return 0
    if earlier is not None and orphans(earlier):
        raise Failure("daemons of the onebox in %s run without their supervisor; scripts/onebox stop ends them" % root)

    def choose(given, before, default):
        return given if given is not None else before if earlier is not None else default
    metas = choose(options.metas, earlier and len(earlier.metas), 1)
    replicas = choose(options.replicas, earlier and len(earlier.replicas), 3)
    port_base = choose(options.port_base, earlier and earlier.port_base, DEFAULT_PORT_BASE)
    if earlier is None and os.path.isdir(root) and os.listdir(root):
        raise Failure("%s is not empty and no onebox; choose another --dir" % root)
    bin_dir = os.environ.get("MARKAB_BIN") or os.path.join(REPOSITORY, "build", "release", "bin")
    kerberos = options.kerberos or (earlier is not None and earlier.kerberos)
    zookeeper = options.zookeeper or kerberos or (earlier is not None and earlier.zookeeper)
    if earlier is not None and (kerberos, zookeeper) != (earlier.kerberos, earlier.zookeeper):
        raise Failure("the onebox in %s was made without %s; scripts/onebox clear first, or choose another --dir" % (
            root, "--kerberos" if kerberos != earlier.kerberos else "--zookeeper"))
    box = Onebox(root, bin_dir, metas, replicas, port_base, options.set, zookeeper, kerberos)
    for program in ("meta", "replica", "shell"):
        if not os.access(box.program(program), os.X_OK):
            raise Failure("%s is missing; run scripts/onebox start without --no-build" % box.program(program))
    for daemon in box.daemons:
        if not is_port_free(daemon.port):
            raise Failure("port %d, meant for %s, is in use; choose another range with --port-base (35600, say)"
                          % (daemon.port, daemon.name))
    os.makedirs(root, exist_ok=True)
    box.save()
    try:
        box.prepare_servers()
    except (OSError, RuntimeError) as e:
        raise Failure(str(e))
    box.write_configs()
    assign_settings(box)
    box.save()
    say("== starting %s%d meta%s and %d replica daemon%s in %s" % (
        "".join(s.name + ", " for s in box.servers), metas, "s" * (metas != 1), replicas, "s" * (replicas != 1), root))
    onebox_supervisor.fork_supervisor(box)
    connected = []

    def supervisor_answers():
        # The socket may be that of an earlier supervisor, which nobody serves, until the new one has replaced it.
        try:
            if onebox_supervisor.is_running(root):
                connected.append(Control(root))
        except (ConnectionRefusedError, FileNotFoundError):
            pass
        return connected

    if not wait_until(10, 0.002, supervisor_answers):
        raise Failure("the supervisor did not start; see %s/supervisor.err" % root)
    control = connected[0]
    try:
        wait_for_service(box, control)
    except Failure:
        state = control.ask(do="status")["daemons"]
        if any(s["pid"] is None for s in state.values()):
            stop_all(box, control)
        raise
    say("== up: every partition takes writes, %.1f s after start" % (time.monotonic() - began))
    print_hints(box)
    return 0


def assign_settings(box):
    """Gives each --set to the daemons that know the key; one that none knows, or that has a wrong value, is refused."""
    box.settings_of = {"meta": [], "replica": []}
    for setting in box.settings:
        refusals = []
        for daemon in (box.metas[0], box.replicas[0]):
            run = subprocess.run([box.program(daemon.kind), "--config", daemon.config, "--set", setting, "--check-config"],
                                 stdin=subprocess.DEVNULL, capture_output=True, text=True)
            if run.returncode == 0:
                box.settings_of[daemon.kind].append(setting)
            else:
                refusals.append(run.stderr.strip())
        if len(refusals) == 2:
            raise Failure("--set %s is refused:\n%s" % (setting, "\n".join(refusals)))


def check_all_live(box, control):
    for name, state in control.ask(do="status")["daemons"].items():
        if state["pid"] is None:
            if "signal" not in state and "exit_code" not in state:
                raise Failure("%s could not be started: %s" % (name, box.command(box.daemon(name))[0]))
            raise Failure("%s %s:\n%s" % (name, how_it_ended(state), last_words(box.daemon(name))))


def wait_for_service(box, control):
    """Returns as soon as the table takes writes in every partition."""
    end = time.monotonic() + START_SECONDS

    def wait(what, step, condition):
        def live_and_done():
            check_all_live(box, control)
            return condition()
        if not wait_until(end - time.monotonic(), step, live_and_done):
            raise Failure("%s after %d s; it is left running for you to look at: scripts/onebox status|logs|stop"
                          % (what(), START_SECONDS))
    wait(lambda: "no meta answers", 0.005, lambda: any(listens(m.port) for m in box.metas))
    expected = {d.address for d in box.replicas}
    seen = set()

    def all_alive():
        seen.clear()
        seen.update(alive_nodes(box))
        return expected <= seen
    wait(lambda: "not known to the meta as alive: " + ", ".join(sorted(expected - seen)), 0.01, all_alive)
    # A table that exists already is fine: the command then waits until it takes writes, as for a new one.
    last = ["the table could not be created"]

    def created():
        run = subprocess.run(box.shell("create %s -p %d -r %d" % (TABLE, PARTITIONS,
                                                                 min(REPLICA_COUNT, len(box.replicas)))),
                             stdin=subprocess.DEVNULL, capture_output=True, text=True)
        last[0] = (run.stdout + run.stderr).strip() or last[0]
        return run.returncode == 0
    wait(lambda: last[0], 0.1, created)


def print_hints(box):
    sync = box.setting("replication.log_sync", "interval")
    durability = {
        "always": "always: a write is acknowledged when it is synced to every replica's disk",
        "interval": "interval: logs are synced every 100 ms, behind the acknowledgement; a power cut may cost the "
                    "last writes (--set replication.log_sync=always)",
        "none": "none: syncing is left to the kernel; a power cut may cost writes",
    }.get(sync, sync)
    where = "" if box.root == os.path.join(REPOSITORY, "onebox") else " --dir " + box.root
    say("")
    say("  shell          scripts/onebox shell%s" % where)
    if not box.kerberos:
        say("                 or at once: %s --meta %s -c 'use %s; set user_1 name Ada; get user_1 name'" % (
            os.path.relpath(box.program("shell")), box.meta_list, TABLE))
    say("  clients        meta servers %s, table %s" % (box.meta_list, TABLE))
    say("  HTTP           http://%s/ and http://%s/metrics" % (box.metas[0].address, box.replicas[0].address
                                                               if box.replicas else box.metas[0].address))
    if box.zookeeper:
        say("  ZooKeeper      %s, below /markab/onebox" % box.zookeeper_server.endpoint)
    if box.kerberos:
        say("  Kerberos       scripts/onebox shell logs in by itself, as %s; by hand:" % box.user)
        say("                 export KRB5_CONFIG=%s" % box.kdc.krb5_conf)
        say("                 kinit -k -t %s %s" % (box.user_keytab, box.user))
        say("                 %s --config %s --meta %s" % (os.path.relpath(box.program("shell")), box.user_config,
                                                           box.meta_list))
    say("  durability     log_sync = %s" % durability)
    say("  see a failover scripts/onebox kill replica2%s; scripts/onebox status%s" % (where, where))
    say("  end            scripts/onebox stop%s; scripts/onebox clear%s" % (where, where))


# ---- stop, clear ---------------------------------------------------------------------------------------------
def stop_all(box, control):
    """SIGTERM to all, replicas first; True when none had to be killed."""
    control.must(do="leaving")
    clean = True
    for group in (box.replicas, box.metas, box.servers):
        for daemon in group:
            control.ask(do="signal", name=daemon.name, signal=int(signal.SIGTERM))
        end = time.monotonic() + EXIT_SECONDS
        for daemon in group:
            waiter = Control(box.root)
            try:
                waiter.ask(timeout=max(0.1, end - time.monotonic()), do="wait_exit", name=daemon.name)
            except socket.timeout:
                say("%s did not end within %d s of SIGTERM and is killed" % (daemon.name, EXIT_SECONDS))
                clean = False
                control.ask(do="signal", name=daemon.name, signal=int(signal.SIGKILL))
                Control(box.root).ask(do="wait_exit", name=daemon.name)
    control.must(do="quit")
    wait_until(5, 0.002, lambda: not onebox_supervisor.is_running(box.root))
    return clean


def stop(options):
    box = loaded(options.dir)
    began = time.monotonic()
    if onebox_supervisor.is_running(box.root):
        clean = stop_all(box, Control(box.root))
    else:
        left = orphans(box)
        if not left:
            say("The onebox in %s is not running." % box.root)
            return 0
        say("The supervisor is gone; ending %s." % ", ".join(d.name for d, _ in left))
        for _, pid in left:
            os.kill(pid, signal.SIGTERM)
        clean = wait_until(EXIT_SECONDS, 0.02, lambda: not orphans(box))
        for daemon, pid in orphans(box):
            say("%s did not end within %d s of SIGTERM and is killed" % (daemon.name, EXIT_SECONDS))
            os.kill(pid, signal.SIGKILL)
    say("Stopped in %.1f s. The data stay in %s; scripts/onebox clear removes them." % (
        time.monotonic() - began, box.root))
    return 0 if clean else 1


def clear(options):
    root = os.path.abspath(options.dir)
    if not os.path.exists(os.path.join(root, STATE_FILE)):
        say("There is no onebox in %s." % root)
        return 0
    box = loaded(root)
    if onebox_supervisor.is_running(root) or orphans(box):
        raise Failure("the onebox in %s is running; scripts/onebox stop first" % root)
    shutil.rmtree(root)
    say("Removed %s." % root)
    return 0


# ---- one daemon ----------------------------------------------------------------------------------------------
def require(box, name):
    daemon = box.daemon(name)
    if daemon is None:
        raise Failure("no daemon is called %s; there are %s" % (name, ", ".join(d.name for d in box.daemons)))
    return daemon


def kill(options):
    box, control = running(options.dir)
    daemon = require(box, options.name)
    control.must(do="signal", name=daemon.name, signal=int(signal.SIGKILL))
    state = control.ask(do="wait_exit", name=daemon.name)
    say("%s %s." % (daemon.name, how_it_ended(state)))
    if state["report_started_ms"] is not None:
        if state["report_done_ms"] is not None:
            say("Its death was on its way to the meta after %.1f ms, and known there after %.1f ms." % (
                state["report_started_ms"], state["report_done_ms"]))
        else:
            say("Its death could not be reported yet; see %s." % os.path.join(box.root, onebox_supervisor.LOG_FILE))
    return 0


def restart(options):
    box, control = running(options.dir)
    daemon = require(box, options.name)
    if control.must(do="status")["daemons"][daemon.name]["pid"] is not None:
        began = time.monotonic()
        control.must(do="signal", name=daemon.name, signal=int(signal.SIGTERM))
        try:
            waiter = Control(box.root)
            waiter.ask(timeout=EXIT_SECONDS, do="wait_exit", name=daemon.name)
        except socket.timeout:
            say("%s did not end within %d s of SIGTERM and is killed" % (daemon.name, EXIT_SECONDS))
            control.must(do="signal", name=daemon.name, signal=int(signal.SIGKILL))
            Control(box.root).ask(do="wait_exit", name=daemon.name)
        say("%s ended in %.1f s." % (daemon.name, time.monotonic() - began))
    end = time.monotonic() + 1
    while True:
        reply = control.ask(do="start", name=daemon.name, force=time.monotonic() >= end)
        if not reply.get("retry"):
            break
        time.sleep(0.005)
    if "error" in reply:
        raise Failure(reply["error"])
    began = time.monotonic()

    def serves():
        state = control.must(do="status")["daemons"][daemon.name]
        if state["pid"] is None:
            raise Failure("%s %s:\n%s" % (daemon.name, how_it_ended(state), last_words(daemon)))
        if daemon.kind != "replica":
            return listens(daemon.port)
        return listens(daemon.port) and daemon.address in alive_nodes(box)
    if not wait_until(30, 0.01, serves):
        raise Failure("%s runs, but is not %s after 30 s; see %s" % (
            daemon.name, "listening" if daemon.kind != "replica" else "known to the meta as alive", daemon.log))
    say("%s is back after %.1f s." % (daemon.name, time.monotonic() - began))
    return 0


def logs(options):
    daemon = require(loaded(options.dir), options.name)
    paths = [p for p in (daemon.stderr, daemon.log) if os.path.exists(p) and os.path.getsize(p)]
    if not paths:
        raise Failure("%s has not written anything yet (%s)" % (daemon.name, daemon.log))
    tail = ["tail", "-q", "-n", "200"] + (["-F"] if options.follow else []) + paths
    os.execvp("tail", tail)


def shell(options):
    box = loaded(options.dir)
    os.execv(box.program("shell"), box.shell_words() + options.arguments)


# ---- status --------------------------------------------------------------------------------------------------
def resources(pid):
    """Resident memory in MiB and the number of threads."""
    try:
        with open("/proc/%d/status" % pid) as text:
            fields = dict(line.split(":", 1) for line in text)
        return int(fields["VmRSS"].split()[0]) / 1024, int(fields["Threads"])
    except (FileNotFoundError, KeyError, ProcessLookupError):
        return 0, 0


def print_status(box, control):
    """True when every daemon lives."""
    states = control.must(do="status")["daemons"]
    say("%-10s %-16s %8s %9s %8s  %s" % ("NAME", "ADDRESS", "PID", "MEMORY", "THREADS", "STATE"))
    for name, state in states.items():
        if state["pid"] is None:
            since = time.strftime("%H:%M:%S", time.localtime(state.get("died", 0)))
            words = "dead: %s at %s" % (how_it_ended(state), since) if "died" in state else "not started"
            say("%-10s %-16s %8s %9s %8s  %s" % (name, state["address"], "-", "-", "-", words))
        else:
            memory, threads = resources(state["pid"])
            say("%-10s %-16s %8d %5.0f MiB %8d  running for %d s" % (
                name, state["address"], state["pid"], memory, threads, time.time() - state["started"]))
    return all(s["pid"] is not None for s in states.values())


def status(options):
    box = Onebox.load(options.dir)
    if box is None or not onebox_supervisor.is_running(box.root):
        left = orphans(box) if box else []
        if left:
            say("The supervisor of the onebox in %s is gone, but these run: %s. scripts/onebox stop ends them." % (
                box.root, ", ".join("%s (%d)" % (d.name, pid) for d, pid in left)))
            return 1
        say("No onebox is running in %s." % os.path.abspath(options.dir))
        return 3
    return 0 if print_status(box, Control(box.root)) else 1


# ---- arguments -----------------------------------------------------------------------------------------------
def count(text):
    value = int(text)
    if not 1 <= value <= 100:
        raise argparse.ArgumentTypeError("1 to 100 are possible")
    return value


def port_base(text):
    value = int(text)
    if not 1024 <= value <= 65000:
        raise argparse.ArgumentTypeError("1024 to 65000 are possible")
    return value


def setting(text):
    if not re.match(r"[^=]+\.[^.=]+=", text):
        raise argparse.ArgumentTypeError("%r is not of the form section.key=value" % text)
    return text


def parse(argv):
    parser = argparse.ArgumentParser(prog="scripts/onebox", description="A Markab cluster on this machine.",
                                     epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--dir", default=os.path.join(REPOSITORY, "onebox"), metavar="D",
                        help="where its files are (onebox/ in the repository)")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name, function, text, takes_name=False):
        command = commands.add_parser(name, help=text, description=text, parents=[shared])
        command.set_defaults(function=function)
        if takes_name:
            command.add_argument("name", metavar="NAME", help="meta1, replica2, ...")
        return command
    command = add("start", start, "install and build what is missing, start the daemons, create the table temp")
    command.add_argument("--metas", type=count, metavar="N", help="meta daemons (1)")
    command.add_argument("--replicas", type=count, metavar="N", help="replica daemons (3)")
    command.add_argument("--port-base", type=port_base, metavar="P",
                         help="metas listen on P+1 and up, replicas on P+201 and up (%d)" % DEFAULT_PORT_BASE)
    command.add_argument("--zookeeper", action="store_true",
                         help="keep the metas' state in a ZooKeeper of its own, as clusters of several machines do")
    command.add_argument("--kerberos", action="store_true",
                         help="with a KDC of its own and a ZooKeeper that demands a login")
    command.add_argument("--no-build", action="store_true", help="take the programs as they are")
    command.add_argument("--set", action="append", default=[], type=setting, metavar="section.key=value",
                         help="for every daemon of this start, as in --set replication.log_sync=none")
    add("stop", stop, "end all daemons (SIGTERM) and wait for them")
    add("status", status, "the daemons; exit code 0 all run, 1 some are dead, 3 not running")
    add("clear", clear, "remove the data of a stopped onebox")
    command = add("shell", shell, "open markab-shell, or pass it arguments: -c 'ls -d'")
    command.add_argument("arguments", nargs=argparse.REMAINDER, metavar="...")
    add("kill", kill, "SIGKILL one daemon", takes_name=True)
    add("restart", restart, "SIGTERM one daemon, wait for its end, start it again; or start a dead one",
        takes_name=True)
    command = add("logs", logs, "the end of a daemon's log", takes_name=True)
    command.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    return parser.parse_args(argv)


def main():
    # Words for the shell, which have dashes of their own, are no business of argparse.
    argv, passed_on = sys.argv[1:], []
    if argv and argv[0] == "shell":
        cut = 3 if argv[1:2] == ["--dir"] else 1
        if argv[1:2] not in (["-h"], ["--help"]):
            argv, passed_on = argv[:cut], argv[cut:]
    options = parse(argv)
    if passed_on:
        options.arguments = passed_on
    options.dir = os.path.abspath(options.dir)
    try:
        sys.exit(options.function(options))
    except Failure as failure:
        print("onebox: %s" % failure, file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
