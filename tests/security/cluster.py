"""A cluster whose daemons prove who they are, for tests: real markab-meta and markab-replica processes beside a Testbed.

    bed = Testbed(folder); cluster = Cluster(bed, mandatory=True)
    cluster.start(); cluster.shell("ls")              # as alice; user=None: without a ticket
    cluster.kill_all(); cluster.start_all()           # everything at once

Programs come from MARKAB_BIN, else from build/release/bin. Each daemon has a folder with its markab.ini and its log.
"""
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request

from testbed import Process, Testbed, free_port, listens, wait_until

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "tests"))
from onebox import BIN  # noqa: E402

SERVICE = "pegasus/localhost"
JAVA_SOURCE = os.path.join(REPOSITORY, "tests", "security", "java", "Negotiate.java")


def make_bed(folder, **options):
    """A Testbed with the service's key, alice, bob and ops."""
    bed = Testbed(folder, **options)
    bed.add(SERVICE, "alice", "bob", "ops")
    bed.keytab(SERVICE, path=os.path.join(bed.folder, "service.keytab"))
    for user in ("alice", "bob", "ops"):
        bed.keytab(user, path=os.path.join(bed.folder, user + ".keytab"))
    return bed


class Cluster:
    def __init__(self, bed, replicas=3, settings=None, only_meta_settings=False, **security):
        self.bed = bed
        self.folder = os.path.join(bed.folder, "cluster-%d" % free_port())
        self.meta = "127.0.0.1:%d" % free_port()
        self.replicas = ["127.0.0.1:%d" % free_port() for _ in range(replicas)]
        self.security = dict(enable_auth="true", mandatory_auth="true", krb5_config=bed.kdc.krb5_conf,
                             krb5_keytab=os.path.join(bed.folder, "service.keytab"), krb5_principal=SERVICE,
                             service_name="pegasus", service_fqdn="localhost", super_users="ops")
        self.security.update(security)
        self.settings = settings or {}
        self.only_meta_settings = only_meta_settings
        self.daemons = {}
        for name, address in self.addresses().items():
            self._configure(name, address)

    def addresses(self):
        return dict([("meta", self.meta)] + [("replica%d" % (i + 1), a) for i, a in enumerate(self.replicas)])

    # ---- processes -------------------------------------------------------------------------------------------
    def _configure(self, name, address):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        self.write_config(name)
        program = os.path.join(BIN, "markab-meta" if name == "meta" else "markab-replica")
        self.daemons[name] = Process(name, [program, "--config", self.config(name)], os.path.join(folder, "stderr"))

    def config(self, name):
        return os.path.join(self.folder, name, "markab.ini")

    def write_config(self, name):
        host, port = self.addresses()[name].split(":")
        folder = os.path.join(self.folder, name)
        sections = {"core": dict(data_dir=folder + "/data", log_file=folder + "/log"),
                    "network": dict(address=host, port=port),
                    "meta_server": dict(server_list=self.meta),
                    "replication": dict(cluster_name="kerberos"),
                    "security": dict(self.security)}
        if name == "meta":
            sections["meta_server"]["state_dir"] = folder + "/state"
        else:
            sections["network"]["shards"] = "1"
            sections["replication"].update(data_dirs="disk1:" + folder + "/disk1", log_sync="interval")
        for key, value in self.settings.items() if name == "meta" or not self.only_meta_settings else []:
            section, _, key = key.partition(".")
            sections.setdefault(section, {})[key] = value
        with open(self.config(name), "w") as out:
            for section, keys in sections.items():
                out.write("[%s]\n" % section + "".join("%s = %s\n" % pair for pair in keys.items()))

    def start_all(self):
        for daemon in self.daemons.values():
            daemon.start()
        wait_until(30, lambda: all(listens(*self._where(n)) or self._died(n) for n in self.daemons))

    def _where(self, name):
        host, port = self.addresses()[name].split(":")
        return host, int(port)

    def _died(self, name):
        if not self.daemons[name].runs():
            raise RuntimeError("%s ended:\n%s\n%s" % (name, self.daemons[name].said()[-2000:], self.log(name)[-3000:]))
        return False

    def start(self, table="temp", partitions=8):
        self.start_all()
        self.wait_alive()
        if table:
            wait_until(30, lambda: self.try_shell("create %s -p %d -r %d" % (table, partitions, len(self.replicas)),
                                                  user="ops").returncode == 0, 0.2)
            self.wait_healthy(table)
        return self

    def wait_alive(self, seconds=30):
        wait_until(seconds, lambda: len(re.findall(r"\bALIVE\b", self.try_shell("nodes -d", user="ops").stdout,
                                                   re.IGNORECASE)) >= len(self.replicas), 0.2)

    def wait_healthy(self, table="temp", seconds=30):
        done = self.try_shell("wait_healthy %s -t %d" % (table, seconds), user="ops", timeout=seconds + 20)
        assert done.returncode == 0, done.stdout

    def kill_all(self):
        for daemon in self.daemons.values():
            daemon.send(signal.SIGKILL)
        for daemon in self.daemons.values():
            daemon.kill()

    def kill(self, name):
        self.daemons[name].kill()

    def stop(self):
        for daemon in self.daemons.values():
            daemon.kill()

    def log(self, name):
        try:
            with open(os.path.join(self.folder, name, "log"), errors="replace") as text:
                return text.read()
        except FileNotFoundError:
            return ""

    def metric(self, name, metric):
        with urllib.request.urlopen("http://%s/metrics?types=server&metrics=%s" % (self.addresses()[name], metric),
                                    timeout=10) as answer:
            text = json.load(answer)
        for entity in text["entities"]:
            for key, value in entity["metrics"].items() if isinstance(entity["metrics"], dict) else []:
                return value["value"]
            for item in entity["metrics"] if isinstance(entity["metrics"], list) else []:
                if item["name"] == metric:
                    return item["value"]
        raise KeyError(metric)

    # ---- clients ---------------------------------------------------------------------------------------------
    def client_config(self, user, **security):
        """An INI file for the shell and the bench; user=None: without authentication."""
        path = os.path.join(self.folder, "client-%s-%08x.ini" % (user, hash(str(sorted(security.items()))) & 0xffffffff))
        keys = dict(enable_auth="false")
        if user:
            keys = dict(enable_auth="true", krb5_config=self.bed.kdc.krb5_conf, service_name="pegasus",
                        service_fqdn="localhost", krb5_principal=user,
                        krb5_keytab=os.path.join(self.bed.folder, user + ".keytab"))
        keys.update(security)
        with open(path, "w") as out:
            out.write("[security]\n" + "".join("%s = %s\n" % pair for pair in keys.items() if pair[1] is not None))
            out.write("[meta_server]\nserver_list = %s\n" % self.meta)
        return path

    def try_shell(self, command, user="alice", timeout=60, config=None, environment=None, arguments=()):
        return subprocess.run([os.path.join(BIN, "markab-shell"), "--config", config or self.client_config(user),
                               *arguments, "-c", command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=timeout,
                              env=dict(os.environ, **(environment or {})))

    def shell(self, command, user="alice", **options):
        done = self.try_shell(command, user, **options)
        assert done.returncode == 0, "%s as %s:\n%s" % (command, user, done.stdout)
        return done.stdout

    def java(self, *flags, user="alice", table="temp", **options):
        return subprocess.run(self.java_command(*flags, user=user, table=table), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, **options)

    def java_command(self, *flags, user="alice", table="temp"):
        return ["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xmx128m",
                "-Djava.security.krb5.conf=" + self.bed.kdc.krb5_conf, "-cp", compile_java(self.bed.folder), "Negotiate",
                self.meta, table, "pegasus", "localhost", user, os.path.join(self.bed.folder, user + ".keytab"), *flags]

    def doctor(self, name="replica1", *arguments):
        return subprocess.run([os.path.join(BIN, "markab-shell"), "doctor", "--config", self.config(name), *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=120)


def compile_java(folder):
    classes = os.path.join(folder, "classes")
    if not os.path.exists(os.path.join(classes, "Negotiate.class")):
        subprocess.run(["javac", "-nowarn", "-Xlint:none", "-d", classes, JAVA_SOURCE], check=True, timeout=120,
                       stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return classes


class Watcher:
    """Runs a program that prints a line per round, and keeps the lines with their times."""

    def __init__(self, command, environment=None):
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      text=True, env=dict(os.environ, **(environment or {})))
        self.lines = []
        import threading
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.child.stdout:
            self.lines.append((time.monotonic(), line.strip()))

    def since(self, moment):
        return [(at, line) for at, line in list(self.lines) if at > moment]

    def good_since(self, moment):
        """Seconds from `moment` to the first success after it; None: there is none yet."""
        return next((at - moment for at, line in self.since(moment) if line.lower().startswith("ok")), None)

    def close(self):
        self.child.kill()
        self.child.wait()
