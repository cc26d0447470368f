"""Starts the daemons of a onebox, watches them, and tells the metas of every death of a replica daemon,
and, where ZooKeeper elects them, of a meta's.

One process per onebox, forked by `onebox start`. It sleeps in one poll() on the daemons' pidfds and on the control
socket DIR/control, so that a death is seen as soon as the kernel knows of it, whoever caused it; the report
(`markab-shell -c "report_death HOST:PORT"`) is started before anything else is done. What died is not started again
unless asked. DIR/supervisor.log has a JSON line for every event, with the monotonic clock in nanoseconds.

The control socket takes one JSON object a line and answers with one:
  {"do": "status"}                              {"daemons": {NAME: {...}}}
  {"do": "start", "name": N, "force": bool}     {"pid": P} or {"error": "...", "retry": bool}; force ends a report
  {"do": "signal", "name": N, "signal": 9}      {} or {"error": "..."}
  {"do": "wait_exit", "name": N}                as status of N, once it is dead and its death has been reported
  {"do": "leaving"}                             {}: everything is about to be stopped, deaths are no news any more
  {"do": "quit"}                                {} and the supervisor ends; refused while a daemon runs
"""
import fcntl
import json
import os
import selectors
import signal
import socket
import subprocess
import time

REPORT_ATTEMPTS = 10        # a report is repeated until a meta has taken it: no leader, a meta just restarting, ...
REPORT_RETRY_SECONDS = 0.2
MAX_REQUEST = 64 * 1024
LOCK_FILE = "supervisor.lock"
CONTROL_SOCKET = "control"  # relative to DIR: a socket's path may have 107 bytes only
LOG_FILE = "supervisor.log"


def is_running(root):
    """Whether a supervisor of this folder lives: it holds a lock as long as it does."""
    try:
        fd = os.open(os.path.join(root, LOCK_FILE), os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)


def process_start(pid):
    """The kernel's start time of a process (clock ticks since boot), None when there is no such process."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            return int(stat.read().rpartition(")")[2].split()[19])
    except (FileNotFoundError, ProcessLookupError):
        return None


class Child:
    """What the supervisor knows of one daemon."""

    def __init__(self, daemon):
        self.daemon = daemon
        self.pid = None
        self.pidfd = None
        self.started = None       # wall clock, seconds
        self.died = None
        self.died_mono = None
        self.status = None        # wait status
        self.report = None        # the Popen of the report under way
        self.report_pidfd = None
        self.report_attempts = 0
        self.report_started_ms = None  # from seeing the death to having started the first report
        self.report_done_ms = None     # ... to a meta having taken it
        self.retry_at = None
        self.waiters = []

    def describe(self):
        out = {"address": self.daemon.address, "pid": self.pid, "started": self.started}
        if self.pid is None and self.status is not None:
            out["died"] = self.died
            if os.WIFSIGNALED(self.status):
                out["signal"] = os.WTERMSIG(self.status)
            else:
                out["exit_code"] = os.WEXITSTATUS(self.status)
            out["report_started_ms"] = self.report_started_ms
            out["report_done_ms"] = self.report_done_ms
        return out


class Supervisor:
    def __init__(self, onebox):
        self.onebox = onebox
        self.children = {d.name: Child(d) for d in onebox.daemons}
        self.poll = selectors.DefaultSelector()
        self.leaving = False
        self.done = False

    def run(self):
        """Never raises for what a daemon or a client does; returns after "quit"."""
        os.chdir(self.onebox.root)
        self.lock = os.open(LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self.log_file = open(LOG_FILE, "a", buffering=1)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for left in (CONTROL_SOCKET, CONTROL_SOCKET + ".new"):
            if os.path.exists(left):
                os.unlink(left)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        # It appears under its name only when it takes connections.
        listener.bind(CONTROL_SOCKET + ".new")
        listener.listen(64)
        os.rename(CONTROL_SOCKET + ".new", CONTROL_SOCKET)
        self.poll.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        for child in self.children.values():
            self._start(child)
        while not self.done:
            for key, _ in self.poll.select(self._next_timeout()):
                key.data()
            self._retry_reports()
        os.unlink(CONTROL_SOCKET)

    def _log(self, event, **more):
        self.log_file.write(json.dumps(dict(event=event, time=round(time.time(), 3),
                                            mono_ns=time.monotonic_ns(), **more)) + "\n")

    # ---- the daemons -----------------------------------------------------------------------------------------
    def _start(self, child):
        daemon = child.daemon
        os.makedirs(daemon.folder, exist_ok=True)
        with open(daemon.stderr, "w") as err:
            try:
                process = subprocess.Popen(self.onebox.command(daemon), stdin=subprocess.DEVNULL, stdout=err,
                                           stderr=err, cwd=daemon.folder, start_new_session=True,
                                           env=dict(os.environ, **self.onebox.environment(daemon)))
            except OSError as e:
                self._log("start_failed", name=daemon.name, error=str(e))
                return {"error": "%s: %s" % (self.onebox.command(daemon)[0], e.strerror)}
        # Popen must not reap what the pidfd below reaps.
        process.returncode = 0
        child.pid, child.started = process.pid, time.time()
        child.status = child.died = child.died_mono = child.report_started_ms = child.report_done_ms = None
        child.report_attempts, child.retry_at = 0, None
        child.pidfd = os.pidfd_open(child.pid)
        self.poll.register(child.pidfd, selectors.EVENT_READ, lambda: self._on_death(child))
        with open(daemon.pid_file, "w") as out:
            json.dump({"pid": child.pid, "start": process_start(child.pid)}, out)
        self._log("started", name=daemon.name, pid=child.pid)
        return {"pid": child.pid}

    def _on_death(self, child):
        seen = time.monotonic_ns()
        child.died_mono = seen
        if self._is_news(child.daemon) and not self.leaving:
            self._report(child)
        _, child.status = os.waitpid(child.pid, 0)
        self.poll.unregister(child.pidfd)
        os.close(child.pidfd)
        pid, child.pid, child.pidfd, child.died = child.pid, None, None, time.time()
        try:
            os.unlink(child.daemon.pid_file)
        except FileNotFoundError:
            pass
        self._log("death", name=child.daemon.name, pid=pid, seen_mono_ns=seen, status=child.status)
        self._answer_waiters(child)

    # ---- reports ---------------------------------------------------------------------------------------------
    def _is_news(self, daemon):
        """Whether a meta can do something about this death: another one may have to lead at once."""
        if daemon.kind == "meta":
            return self.onebox.zookeeper and len(self.onebox.metas) > 1
        return daemon.kind == "replica"

    def _report(self, child):
        child.report_attempts += 1
        try:
            child.report = subprocess.Popen(self.onebox.shell("report_death " + child.daemon.address),
                                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                            stderr=subprocess.PIPE)
        except OSError as e:
            self._log("report_failed", name=child.daemon.name, error=str(e))
            return
        if child.report_started_ms is None:
            child.report_started_ms = round((time.monotonic_ns() - child.died_mono) / 1e6, 3)
        child.report_pidfd = os.pidfd_open(child.report.pid)
        self.poll.register(child.report_pidfd, selectors.EVENT_READ, lambda: self._on_report_done(child))
        self._log("report_started", name=child.daemon.name, attempt=child.report_attempts,
                  after_ms=child.report_started_ms)

    def _on_report_done(self, child):
        self.poll.unregister(child.report_pidfd)
        os.close(child.report_pidfd)
        code = child.report.wait()
        said = child.report.stderr.read(4096).decode(errors="replace").strip()
        child.report.stderr.close()
        child.report = child.report_pidfd = None
        after = round((time.monotonic_ns() - child.died_mono) / 1e6, 3)
        self._log("report_done", name=child.daemon.name, exit_code=code, after_ms=after, said=said)
        if code == 0:
            child.report_done_ms = after
        elif child.report_attempts < REPORT_ATTEMPTS and not self.leaving:
            child.retry_at = time.monotonic() + REPORT_RETRY_SECONDS
        self._answer_waiters(child)

    def _retry_reports(self):
        now = time.monotonic()
        for child in self.children.values():
            if child.retry_at is not None and child.retry_at <= now:
                child.retry_at = None
                if child.pid is None and not self.leaving:
                    self._report(child)

    def _next_timeout(self):
        times = [c.retry_at for c in self.children.values() if c.retry_at is not None]
        return max(0.0, min(times) - time.monotonic()) if times else None

    # ---- control ---------------------------------------------------------------------------------------------
    def _accept(self, listener):
        connection, _ = listener.accept()
        connection.setblocking(False)
        buffer = bytearray()
        self.poll.register(connection, selectors.EVENT_READ, lambda: self._on_readable(connection, buffer))

    def _on_readable(self, connection, buffer):
        try:
            data = connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        buffer += data
        if not data or len(buffer) > MAX_REQUEST:
            for child in self.children.values():
                child.waiters = [w for w in child.waiters if w is not connection]
            self.poll.unregister(connection)
            connection.close()
            return
        while b"\n" in buffer:
            line, _, rest = bytes(buffer).partition(b"\n")
            buffer[:] = rest
            try:
                reply = self._do(json.loads(line), connection)
            except (ValueError, KeyError, TypeError) as e:
                reply = {"error": "not a request: %r" % e}
            if reply is not None:
                self._reply(connection, reply)

    def _reply(self, connection, reply):
        try:
            connection.sendall(json.dumps(reply).encode() + b"\n")
        except OSError:
            pass  # whoever asked has gone

    def _do(self, request, connection):
        what = request["do"]
        if what == "status":
            return {"daemons": {name: c.describe() for name, c in self.children.items()}}
        if what == "leaving":
            self.leaving = True
            return {}
        if what == "quit":
            living = [name for name, c in self.children.items() if c.pid is not None]
            if living:
                return {"error": "still running: " + ", ".join(living)}
            self.done = True
            return {}
        child = self.children.get(request["name"])
        if child is None:
            return {"error": "no daemon is called %s; there are %s" % (request["name"], ", ".join(self.children))}
        if what == "start":
            if child.pid is not None:
                return {"error": "%s is running already" % child.daemon.name}
            if child.report is not None:
                # A report that arrived after the new process' first beacon would be about the wrong life.
                if not request.get("force"):
                    return {"error": "the death of %s is still being reported" % child.daemon.name, "retry": True}
                child.report.kill()
                self._on_report_done(child)
            return self._start(child)
        if what == "signal":
            if child.pid is None:
                return {"error": "%s is not running" % child.daemon.name}
            self._log("signal", name=child.daemon.name, signal=request["signal"])
            signal.pidfd_send_signal(child.pidfd, request["signal"])
            return {}
        if what == "wait_exit":
            child.waiters.append(connection)
            self._answer_waiters(child)
            return None
        return {"error": "unknown request " + repr(what)}

    def _answer_waiters(self, child):
        if child.pid is None and child.report is None:
            waiters, child.waiters = child.waiters, []
            for connection in waiters:
                self._reply(connection, child.describe())


def fork_supervisor(onebox):
    """Starts the supervisor of `onebox` as a process of its own that outlives the caller and its terminal."""
    middle = os.fork()
    if middle != 0:
        os.waitpid(middle, 0)
        return
    os.setsid()
    if os.fork() != 0:
        os._exit(0)
    null = os.open("/dev/null", os.O_RDWR)
    err = os.open(os.path.join(onebox.root, "supervisor.err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.dup2(err, 2)
    code = 1
    try:
        # What the caller has open (pipes of a test runner, for one) must not stay open for as long as we live.
        os.closerange(3, 1024)
        Supervisor(onebox).run()
        code = 0
    except Exception:  # noqa: the last thing to do with it is to write it down
        import traceback
        traceback.print_exc()
    finally:
        os._exit(code)
