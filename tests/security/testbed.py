"""Real Kerberos and a real ZooKeeper for tests: processes of their own on loopback, ended by their pids.

    bed = Testbed(tmp_path, max_life="1m")                 # the KDC runs
    bed.add("alice"); bed.keytab("alice")                  # -> path of a keytab with alice's key
    zk = bed.zookeeper(["zookeeper/localhost"])            # one server per principal; they serve
    environment = bed.client_environment(rdns=False)       # KRB5_CONFIG and so on, for a client program
    bed.kdc_delay(3); bed.kdc_down(); bed.kdc_up()         # a slow one, none, back again
    bed.close()

What the KDC was asked for is in bed.requests(). Files: scripts/loopback_servers.py.
"""
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "scripts"))
import loopback_servers  # noqa: E402
from loopback_servers import free_port  # noqa: E402, F401 (for tests)

NSS_WRAPPER = "libnss_wrapper.so"


class Process:
    """A server of the testbed; what it says goes to `log`."""

    def __init__(self, name, command, log, environment=None):
        self.name, self.command, self.log = name, command, log
        self.environment = environment or {}
        self.child = None

    def start(self):
        assert self.child is None, self.name + " runs already"
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env=dict(os.environ, **self.environment), start_new_session=True)
        return self

    @property
    def pid(self):
        return self.child.pid

    def runs(self):
        return self.child is not None and self.child.poll() is None

    def send(self, number):
        os.kill(self.child.pid, number)

    def pause(self):
        self.send(signal.SIGSTOP)

    def resume(self):
        self.send(signal.SIGCONT)

    def stop(self, number=signal.SIGTERM):
        if self.child is None:
            return
        if self.child.poll() is None:
            self.child.send_signal(number)
            self.child.send_signal(signal.SIGCONT)
            try:
                self.child.wait(10)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        self.child = None

    def kill(self):
        self.stop(signal.SIGKILL)

    def said(self):
        with open(self.log, errors="replace") as text:
            return text.read()


class TcpProxy:
    """Between a client and one server: passes bytes on, late, not at all, or refuses connections."""

    def __init__(self, target, address="127.0.0.1", port=None):
        self.target, self.address = target, address
        self.port = port or free_port(address)
        self.delay = 0.0         # seconds before an answer is passed on
        self.swallow = False     # connections are taken, nothing is passed on
        self.accepted = 0
        self.listener = None
        self.closed = False
        self.links = set()
        self.lock = threading.Lock()
        self.up()

    def up(self):
        if self.listener is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self.address, self.port))
            listener.listen(128)
            self.listener = listener
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self):
        """Connections are refused and those that exist are cut."""
        listener, self.listener = self.listener, None
        if listener is not None:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        self.cut()

    def cut(self):
        with self.lock:
            links, self.links = self.links, set()
        for link in links:
            try:
                link.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def close(self):
        self.closed = True
        self.down()

    def _accept(self, listener):
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        try:
            server = socket.create_connection(self.target, timeout=5)
            server.settimeout(None)
        except OSError:
            client.close()
            return
        with self.lock:
            self.links |= {client, server}
        back = threading.Thread(target=self._pass, args=(server, client, True), daemon=True)
        back.start()
        self._pass(client, server, False)
        back.join()
        with self.lock:
            self.links -= {client, server}
        client.close()
        server.close()

    def _pass(self, source, sink, is_answer):
        try:
            while True:
                data = source.recv(65536)
                if is_answer and data and self.delay:
                    time.sleep(self.delay)
                if not data:
                    break
                if not self.swallow:
                    sink.sendall(data)
        except OSError:
            pass
        try:
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass


class Testbed:
    __test__ = False  # not a test class

    def __init__(self, folder, realm="MARKAB.TEST", max_life="10h"):
        self.folder = str(folder)
        os.makedirs(self.folder, exist_ok=True)
        port = free_port()
        self.kdc_proxy = TcpProxy(("127.0.0.1", port))
        self.kdc = loopback_servers.Kdc(os.path.join(self.folder, "kdc"), realm, port, self.kdc_proxy.port,
                                        max_life).create()
        self.realm = realm
        self.kdc_process = Process("kdc", self.kdc.command, os.path.join(self.kdc.folder, "kdc.out"),
                                   self.kdc.environment)
        self.servers = []   # loopback_servers.ZooKeeper
        self.processes = {}  # endpoint -> Process
        self.start_kdc()

    # ---- the KDC ---------------------------------------------------------------------------------------------
    def start_kdc(self):
        self.kdc_process.start()
        wait_until(10, lambda: listens("127.0.0.1", self.kdc.port) or self._died(self.kdc_process))

    def kdc_down(self):
        """Connections to the KDC are refused."""
        self.kdc_proxy.down()

    def kdc_swallows(self):
        """The KDC takes requests and answers none."""
        self.kdc_proxy.swallow = True

    def kdc_delay(self, seconds):
        self.kdc_proxy.delay = seconds

    def kdc_up(self):
        """As at the start: there, and quick."""
        self.kdc_proxy.delay, self.kdc_proxy.swallow = 0.0, False
        self.kdc_proxy.cut()
        self.kdc_proxy.up()

    def add(self, *principals, **options):
        self.kdc.add(*principals, **options)

    def keytab(self, *principals, path=None):
        """A keytab with these principals' keys (new ones: what was made before for them is stale)."""
        path = path or os.path.join(self.folder, principals[0].replace("/", "_") + ".keytab")
        return self.kdc.keytab(path, *principals)

    def ticket(self, principal, keytab, cache=None):
        """Gets a ticket into a cache file, whose path is returned."""
        cache = cache or os.path.join(self.folder, principal.replace("/", "_") + ".ccache")
        subprocess.run([loopback_servers.program("kinit"), "-k", "-t", keytab, "-c", cache, principal], check=True,
                       env=dict(os.environ, KRB5_CONFIG=self.kdc.krb5_conf), timeout=60, stdin=subprocess.DEVNULL)
        return cache

    def requests(self):
        """(kind, result, client, service) of what the KDC was asked, in order: ("TGS_REQ", "ISSUE", "a@R", "z/h@R")."""
        found = []
        with open(self.kdc.log, errors="replace") as log:
            for line in log:
                match = re.search(r"(AS_REQ|TGS_REQ) .*?: ([A-Z_]+): .*?([^\s,]+@\S+) for ([^\s,]+)", line)
                if match:
                    found.append(match.groups())
        return found

    def services_asked(self, since=0):
        return [service for kind, _, _, service in self.requests()[since:] if kind == "TGS_REQ"]

    # ---- clients' side ---------------------------------------------------------------------------------------
    def client_environment(self, rdns=False, canonicalize=False, hosts=None, keytab=None):
        """For a client program. `hosts` is {name: address}, or [(address, name, ...)] where the first name is what a
        reverse look-up gives: names are then looked up there and nowhere else (libnss-wrapper)."""
        path = os.path.join(self.folder, "krb5-%s-%s.conf" % (rdns, canonicalize))
        self.kdc.write_client_config(path, rdns, canonicalize)
        out = dict(KRB5_CONFIG=path)
        if keytab:
            out["KRB5_CLIENT_KTNAME"] = out["KRB5_KTNAME"] = keytab
        if hosts is not None:
            rows = [(a, n) for n, a in hosts.items()] if isinstance(hosts, dict) else hosts
            text = "".join("%s %s\n" % (row[0], " ".join(row[1:])) for row in rows)
            name = os.path.join(self.folder, "hosts-%08x" % (hash(text) & 0xffffffff))
            out.update(LD_PRELOAD=NSS_WRAPPER, NSS_WRAPPER_HOSTS=loopback_servers.write(name, text))
        return out

    # ---- ZooKeeper -------------------------------------------------------------------------------------------
    def zookeeper(self, principals=("zookeeper/localhost",), name="ensemble", wait=True, **options):
        """One server per principal, on 127.0.0.1, .2, ...; the principals are created. () means one without SASL."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        keytab = None
        if principals:
            have = self.kdc.administer("listprincs").split()
            new = [p for p in dict.fromkeys(principals) if p + "@" + self.realm not in have]
            if new:
                self.add(*new)
            # The keys stay as they are: another ensemble may serve under the same names.
            keytab = self.kdc.keytab(os.path.join(folder, "servers.keytab"), *dict.fromkeys(principals), new_keys=False)
        options.setdefault("force_sync", False)
        servers = loopback_servers.ensemble(folder, max(1, len(principals)), self.kdc, list(principals) or None, keytab,
                                            **options)
        for server in servers:
            self.servers.append(server)
            self.processes[server.endpoint] = Process("zookeeper " + server.endpoint, server.command, server.log).start()
        if wait:
            self.wait_zookeeper(servers)
        return servers

    def wait_zookeeper(self, servers, seconds=60):
        for server in servers:
            wait_until(seconds, lambda s=server: s.serves() or self._died(self.processes[s.endpoint]), 0.05)

    def process(self, server):
        return self.processes[server.endpoint]

    def _died(self, process):
        if not process.runs():
            raise RuntimeError("%s ended with %s:\n%s" % (process.name, process.child.returncode, process.said()[-3000:]))
        return False

    def close(self):
        for process in self.processes.values():
            process.kill()
        self.kdc_process.stop()
        self.kdc_proxy.close()


def listens(address, port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex((address, port)) == 0


def wait_until(seconds, condition, step=0.01):
    """Waits for a condition of the outside world; what it returned. AssertionError when it does not come true."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < end, "not true within %s s" % seconds
        time.sleep(step)
