"""What a onebox consists of: its daemons, their addresses, folders and configuration files.

Written once by `onebox start` to DIR/onebox.json and read by every other command and by the supervisor.
"""
import json
import os

DEFAULT_PORT_BASE = 34600
META_OFFSET = 1        # metas at base + 1, base + 2, ...
REPLICA_OFFSET = 201   # replicas at base + 201, ...: 34601 and 34801, the ports that Pegasus' tools assume
HOST = "127.0.0.1"
STATE_FILE = "onebox.json"


class Daemon:
    """One daemon: its name (meta1, replica2), kind and port, and where its files are."""

    def __init__(self, root, kind, number, port):
        self.kind = kind
        self.name = "%s%d" % (kind, number)
        self.port = port
        self.address = "%s:%d" % (HOST, port)
        self.folder = os.path.join(root, self.name)
        self.config = os.path.join(self.folder, "markab.ini")
        self.log = os.path.join(self.folder, self.name + ".log")
        self.stderr = os.path.join(self.folder, "stderr")
        self.pid_file = os.path.join(self.folder, "pid")


class Onebox:
    def __init__(self, root, bin_dir, metas, replicas, port_base, settings):
        self.root = os.path.abspath(root)
        self.bin = os.path.abspath(bin_dir)
        self.port_base = port_base
        self.settings = list(settings)
        # Which of them each kind of daemon takes: not every key means something to both.
        self.settings_of = {"meta": self.settings, "replica": self.settings}
        self.metas = [Daemon(self.root, "meta", i + 1, port_base + META_OFFSET + i) for i in range(metas)]
        self.replicas = [Daemon(self.root, "replica", i + 1, port_base + REPLICA_OFFSET + i)
                         for i in range(replicas)]

    @property
    def daemons(self):
        return self.metas + self.replicas

    @property
    def meta_list(self):
        return ",".join(d.address for d in self.metas)

    def daemon(self, name):
        return next((d for d in self.daemons if d.name == name), None)

    def program(self, name):
        return os.path.join(self.bin, "markab-" + name)

    def command(self, daemon):
        argv = [self.program(daemon.kind), "--config", daemon.config]
        for setting in self.settings_of[daemon.kind]:
            argv += ["--set", setting]
        return argv

    def shell(self, command):
        return [self.program("shell"), "--meta", self.meta_list, "-c", command]

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
                 "port_base": self.port_base, "settings": self.settings, "settings_of": self.settings_of}
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
        box = Onebox(root, state["bin"], state["metas"], state["replicas"], state["port_base"], state["settings"])
        box.settings_of = state["settings_of"]
        return box

    def write_configs(self):
        for daemon in self.daemons:
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
        lines += ["", "[replication]", "cluster_name = onebox"]
        if daemon.kind == "replica":
            lines += ["data_dirs = disk1:" + path(daemon.folder, "disk1"),
                      "# A write is acknowledged when all replicas have it in memory and log; the logs are synced",
                      "# every 100 ms. For data that you want to keep: always.",
                      "log_sync = interval"]
        return "\n".join(lines) + "\n"
