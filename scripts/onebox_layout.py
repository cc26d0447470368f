"""What a onebox consists of: its daemons, their addresses, folders and configuration files.

Written once by `onebox start` to DIR/onebox.json and read by every other command and by the supervisor.
"""
import getpass
import json
import os

from loopback_servers import Kdc, ZooKeeper

DEFAULT_PORT_BASE = 34600
META_OFFSET = 1        # metas at base + 1, base + 2, ...
REPLICA_OFFSET = 201   # replicas at base + 201, ...: 34601 and 34801, the ports that Pegasus' tools assume
SERVER_OFFSET = 101    # the KDC at base + 101, ZooKeeper at base + 102
HOST = "127.0.0.1"
ZOOKEEPER_NAME = "localhost"  # as it is listed, and so the host part of its principal
REALM = "ONEBOX.MARKAB"
SERVICE = "pegasus/localhost"
STATE_FILE = "onebox.json"


class Daemon:
    """One daemon: its name (meta1, replica2), kind and port, and where its files are."""

    def __init__(self, root, kind, number, port):
        self.kind = kind
        self.name = "%s%d" % (kind, number) if number else kind
        self.port = port
        self.address = "%s:%d" % (HOST, port)
        self.folder = os.path.join(root, self.name)
        self.config = os.path.join(self.folder, "markab.ini")
        self.log = os.path.join(self.folder, self.name + ".log")
        self.stderr = os.path.join(self.folder, "stderr")
        self.pid_file = os.path.join(self.folder, "pid")


class Onebox:
    def __init__(self, root, bin_dir, metas, replicas, port_base, settings, zookeeper=False, kerberos=False):
        self.root = os.path.abspath(root)
        self.bin = os.path.abspath(bin_dir)
        self.port_base = port_base
        self.settings = list(settings)
        # Which of them each kind of daemon takes: not every key means something to both.
        self.settings_of = {"meta": self.settings, "replica": self.settings}
        self.metas = [Daemon(self.root, "meta", i + 1, port_base + META_OFFSET + i) for i in range(metas)]
        self.replicas = [Daemon(self.root, "replica", i + 1, port_base + REPLICA_OFFSET + i)
                         for i in range(replicas)]

        # Servers of others that the daemons need; each is (what the supervisor watches, what it runs).
        self.zookeeper = zookeeper or kerberos
        self.kerberos = kerberos
        self.kdc = self.zookeeper_server = None
        self.servers = []
        if kerberos:
            self._add_kdc(port_base + SERVER_OFFSET)
        if self.zookeeper:
            self._add_zookeeper(port_base + SERVER_OFFSET + 1)

    def _add_kdc(self, port):
        self.servers.append(Daemon(self.root, "kdc", 0, port))
        self.kdc = Kdc(os.path.join(self.root, "kdc"), REALM, port)
        self.daemon_keytab = os.path.join(self.root, "kdc", "daemons.keytab")
        self.user = getpass.getuser()
        self.user_keytab = os.path.join(self.root, "user.keytab")
        self.user_config = os.path.join(self.root, "user.ini")      # whoever has a ticket (kinit)
        self.admin_config = os.path.join(self.root, "admin.ini")    # the launcher itself: from the keytab

    def _add_zookeeper(self, port):
        self.servers.append(Daemon(self.root, "zookeeper", 0, port))
        principal = "zookeeper/" + ZOOKEEPER_NAME if self.kerberos else None
        self.zookeeper_server = ZooKeeper(os.path.join(self.root, "zookeeper"), HOST, port, self.kdc, principal,
                                          os.path.join(self.root, "kdc", "zookeeper.keytab"))

    def prepare_servers(self):
        """The files of the servers; principals and keytabs when they are new."""
        if self.kdc is not None:
            self.kdc.create()
            if not os.path.exists(self.user_keytab):
                self.kdc.add(SERVICE, "zookeeper/" + ZOOKEEPER_NAME, self.user)
                self.kdc.keytab(self.daemon_keytab, SERVICE)
                self.kdc.keytab(self.zookeeper_server.keytab, "zookeeper/" + ZOOKEEPER_NAME)
                self.kdc.keytab(self.user_keytab, self.user)
        if self.zookeeper_server is not None:
            self.zookeeper_server.write()

    @property
    def daemons(self):
        return self.servers + self.metas + self.replicas

    @property
    def meta_list(self):
        return ",".join(d.address for d in self.metas)

    def daemon(self, name):
        return next((d for d in self.daemons if d.name == name), None)

    def program(self, name):
        return os.path.join(self.bin, "markab-" + name)

    def environment(self, daemon):
        """What is set for a process beside the environment of whoever starts it."""
        if daemon.kind == "kdc":
            return self.kdc.environment
        return {}

    def command(self, daemon):
        if daemon.kind == "kdc":
            return self.kdc.command
        if daemon.kind == "zookeeper":
            return self.zookeeper_server.command
        argv = [self.program(daemon.kind), "--config", daemon.config]
        for setting in self.settings_of[daemon.kind]:
            argv += ["--set", setting]
        return argv

    def shell_words(self):
        """The shell with what it needs to reach this cluster."""
        words = [self.program("shell"), "--meta", self.meta_list]
        return words + ["--config", self.admin_config] if self.kerberos else words

    def shell(self, command):
        return self.shell_words() + ["-c", command]

    def setting(self, name, default):
        """The value of section.key as given with --set."""
        value = default
        for setting in self.settings:
            key, _, given = setting.partition("=")
            if key.strip() == name:
                value = given.strip()
        return value

    # ---- files -----------------------------------------------------------------------------------------------
    def save(self):
        state = {"bin": self.bin, "metas": len(self.metas), "replicas": len(self.replicas),
                 "port_base": self.port_base, "settings": self.settings, "settings_of": self.settings_of,
                 "zookeeper": self.zookeeper, "kerberos": self.kerberos}
        path = os.path.join(self.root, STATE_FILE)
        with open(path + ".new", "w") as out:
            json.dump(state, out, indent=2)
        os.rename(path + ".new", path)

    @staticmethod
    def load(root):
        """The onebox of a folder, or None where there is none."""
        try:
            with open(os.path.join(root, STATE_FILE)) as text:
                state = json.load(text)
        except FileNotFoundError:
            return None
        box = Onebox(root, state["bin"], state["metas"], state["replicas"], state["port_base"], state["settings"],
                     state.get("zookeeper", False), state.get("kerberos", False))
        box.settings_of = state["settings_of"]
        return box

    def _security(self, keytab=None, principal=None, daemon=None):
        """The section [security] of a daemon or of a client."""
        lines = ["", "[security]", "enable_auth = true", "krb5_config = " + self.kdc.krb5_conf,
                 "service_name = " + SERVICE.split("/")[0], "service_fqdn = " + SERVICE.split("/")[1]]
        if keytab:
            lines += ["krb5_keytab = " + keytab, "krb5_principal = " + principal]
        if daemon is not None:
            lines += ["mandatory_auth = true", "super_users = " + self.user]
            if daemon.kind == "meta":
                lines.append("enable_zookeeper_kerberos = true")
        return lines

    def write_configs(self):
        if self.kerberos:
            for path, section in ((self.user_config, self._security()),
                                  (self.admin_config, self._security(self.user_keytab, self.user))):
                with open(path, "w") as out:
                    out.write("\n".join(section[1:]) + "\n")
        for daemon in self.metas + self.replicas:
            os.makedirs(daemon.folder, exist_ok=True)
            with open(daemon.config, "w") as out:
                out.write(self._config(daemon))

    def _config(self, daemon):
        # '#' and ';' begin a comment anywhere in a line unless a caret stands before them.
        path = lambda *parts: os.path.join(*parts).replace("#", "^#").replace(";", "^;")
        lines = ["# Written by scripts/onebox start; give --set section.key=value to change a key.",
                 "[core]",
                 "data_dir = " + path(daemon.folder, "data"),
                 "log_file = " + path(daemon.log),
                 "",
                 "[network]",
                 "address = " + HOST,
                 "port = %d" % daemon.port]
        if daemon.kind == "replica":
            # One event loop per core is meant for a daemon that has the machine to itself; here they share it.
            lines.append("shards = %d" % max(1, (os.cpu_count() or 1) // len(self.replicas)))
        lines += ["",
                 "[meta_server]",
                 "server_list = " + self.meta_list]
        if daemon.kind == "meta":
            lines.append("state_dir = " + path(self.root, "meta-state"))
            if self.zookeeper:
                lines += ["meta_state_service_type = meta_state_service_zookeeper",
                          "distributed_lock_service_type = distributed_lock_service_zookeeper",
                          "cluster_root = /markab/onebox",
                          "",
                          "[zookeeper]",
                          "hosts_list = %s:%d" % (ZOOKEEPER_NAME, self.zookeeper_server.port)]
                if self.kerberos:
                    lines.append("sasl_mechanisms_type = GSSAPI")
        if self.kerberos:
            lines += self._security(self.daemon_keytab, SERVICE, daemon)
        lines += ["", "[replication]", "cluster_name = onebox"]
        if daemon.kind == "replica":
            lines += ["data_dirs = disk1:" + path(daemon.folder, "disk1"),
                      "# A write is acknowledged when all replicas have it in memory and log; the logs are synced",
                      "# every 100 ms. For data that you want to keep: always.",
                      "log_sync = interval"]
        return "\n".join(lines) + "\n"
