"""Several metas and replica servers around an ensemble that demands Kerberos, for tests of its troubles.

    cluster = ZooKeeperCluster(bed, servers, folder); cluster.start()
    cluster.leader()                  # the name of the meta that serves as the leader, or None
    cluster.cut(name); cluster.heal() # that meta's way to ZooKeeper: its messages are swallowed
    cluster.ballots()                 # {(table, partition): ballot}, as the leader has it

Each meta reaches ZooKeeper through proxies of its own, one per server, so that its session can be made to expire while
the meta itself runs. The log of each daemon is in its folder.
"""
import json
import os
import re
import subprocess
import urllib.error
import urllib.request

from meta_process import BIN, leads
from testbed import Process, TcpProxy, free_port, listens, wait_until

NAMES = ["zk1.markab.test", "zk2.markab.test", "zk3.markab.test"]
# Forward and back, under the test's control; proxies listen on the first address under all names.
HOSTS = [("127.0.0.1", *NAMES)]


class ZooKeeperCluster:
    def __init__(self, bed, servers, folder, metas=3, replicas=3, settings=(), keytab=None):
        self.bed, self.servers, self.folder = bed, servers, str(folder)
        self.addresses = dict([("meta%d" % (i + 1), "127.0.0.1:%d" % free_port()) for i in range(metas)] +
                              [("replica%d" % (i + 1), "127.0.0.1:%d" % free_port()) for i in range(replicas)])
        self.metas = [n for n in self.addresses if n.startswith("meta")]
        self.replicas = [n for n in self.addresses if n.startswith("replica")]
        self.meta_list = ",".join(self.addresses[m] for m in self.metas)
        self.proxies = {m: [TcpProxy((s.address, s.port)) for s in servers] for m in self.metas}
        self.keytab, self.settings = keytab, list(settings)
        self.daemons = {name: self._daemon(name) for name in self.addresses}

    def _daemon(self, name):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        host, port = self.addresses[name].split(":")
        keys = ["network.address=" + host, "network.port=" + port, "core.data_dir=" + folder + "/data",
                "meta_server.server_list=" + self.meta_list, "replication.cluster_name=rounds", *self.settings]
        environment = {}
        if name in self.proxies:
            ways = self.proxies[name]
            keys += ["meta_server.meta_state_service_type=meta_state_service_zookeeper",
                     "meta_server.distributed_lock_service_type=distributed_lock_service_zookeeper",
                     "meta_server.cluster_root=/markab/rounds",
                     "zookeeper.hosts_list=" + ",".join("%s:%d" % (NAMES[i], p.port) for i, p in enumerate(ways))]
            if self.keytab:
                keys.append("zookeeper.sasl_mechanisms_type=GSSAPI")
            environment = self.bed.client_environment(keytab=self.keytab, hosts=HOSTS)
            environment.setdefault("KRB5CCNAME", "MEMORY:meta")
        else:
            keys += ["network.shards=1", "replication.data_dirs=disk1:" + folder + "/disk1",
                     "replication.log_sync=interval"]
        command = [os.path.join(BIN, "markab-meta" if name in self.proxies else "markab-replica")]
        for key in keys:
            command += ["--set", key]
        return Process(name, command, os.path.join(folder, "log"), environment)

    # ---- processes -------------------------------------------------------------------------------------------
    def start(self):
        for name in self.addresses:
            self.daemons[name].start()
        for name, address in self.addresses.items():
            host, port = address.split(":")
            wait_until(30, lambda: listens(host, int(port)) or self._died(name))
        self.wait_leader()
        wait_until(30, lambda: len(re.findall(r"\bALIVE\b", self.try_shell("nodes -d").stdout)) >= len(self.replicas), 0.2)
        return self

    def _died(self, name):
        if not self.daemons[name].runs():
            raise RuntimeError("%s ended:\n%s" % (name, self.daemons[name].said()[-3000:]))
        return False

    def stop(self):
        for daemon in self.daemons.values():
            daemon.kill()
        for ways in self.proxies.values():
            for proxy in ways:
                proxy.close()

    def cut(self, meta):
        for proxy in self.proxies[meta]:
            proxy.swallow = True

    def heal(self):
        """All ways are open; connections that lost bytes are ended."""
        for ways in self.proxies.values():
            for proxy in ways:
                if proxy.swallow:
                    proxy.swallow = False
                    proxy.cut()

    def drop_connections(self):
        for ways in self.proxies.values():
            for proxy in ways:
                proxy.cut()

    # ---- what the cluster says ---------------------------------------------------------------------------------
    def leaders(self):
        return [m for m in self.metas if self.daemons[m].runs() and leads(self.addresses[m])]

    def leader(self):
        found = self.leaders()
        return found[0] if found else None

    def wait_leader(self, seconds=60):
        return wait_until(seconds, self.leader, 0.05)

    def _page(self, path):
        """Of the leader; None when nobody answers as one."""
        leader = self.leader()
        if leader is None:
            return None
        try:
            with urllib.request.urlopen("http://%s/meta/%s" % (self.addresses[leader], path), timeout=5) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError):
            return None

    def tables(self):
        page = wait_until(60, lambda: self._page("apps"), 0.1)
        return {t["app_name"] for t in page["general_info"].values()}

    def ballots(self):
        out = {}
        for table in self.tables():
            page = wait_until(60, lambda t=table: self._page("app?name=%s&detail" % t), 0.1)
            for index, partition in page.get("replicas", {}).items():
                out[table, int(index)] = int(partition["ballot"])
        return out

    def try_shell(self, command, timeout=60, arguments=()):
        return subprocess.run([os.path.join(BIN, "markab-shell"), "--meta", self.meta_list, *arguments, "-c", command],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout)

    def shell(self, command, **options):
        done = self.try_shell(command, **options)
        assert done.returncode == 0, "%s:\n%s" % (command, done.stdout)
        return done.stdout

    def wait_healthy(self, seconds=60):
        for table in sorted(self.tables()):
            self.shell("wait_healthy %s -t %d" % (table, seconds), timeout=seconds + 30)
