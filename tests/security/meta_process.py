"""One markab-meta by itself, for cases about its way to ZooKeeper."""
import os
import re
import time
import urllib.error
import urllib.request

from testbed import Process, REPOSITORY, free_port, wait_until

BIN = os.environ.get("MARKAB_BIN") or os.path.join(REPOSITORY, "build", "release", "bin")


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def leads(address):
    """Whether this meta serves as the leader: a follower redirects, one that loads says 503."""
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open("http://%s/meta/cluster" % address, timeout=1) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


class Meta:
    def __init__(self, folder, name, hosts, settings=(), environment=None, root="/markab/test"):
        self.folder = os.path.join(str(folder), name)
        os.makedirs(self.folder, exist_ok=True)
        self.address = "127.0.0.1:%d" % free_port()
        self.log = os.path.join(self.folder, "log")
        keys = ["network.port=" + self.address.split(":")[1], "meta_server.server_list=" + self.address,
                "meta_server.meta_state_service_type=meta_state_service_zookeeper",
                "meta_server.distributed_lock_service_type=distributed_lock_service_zookeeper",
                "meta_server.cluster_root=" + root, "zookeeper.hosts_list=" + hosts,
                "core.data_dir=" + self.folder, *settings]
        command = [os.path.join(BIN, "markab-meta")]
        for key in keys:
            command += ["--set", key]
        environment = dict(environment or {})
        environment.setdefault("KRB5CCNAME", "MEMORY:meta")
        self.process = Process(name, command, self.log, environment)
        self.start()

    def start(self):
        self.began = time.monotonic()
        self.process.start()

    def stop(self):
        self.process.stop()

    def said(self):
        return self.process.said()

    def leads(self):
        return self.process.runs() and leads(self.address)

    def wait_leads(self, seconds=10):
        """Seconds from its start until it serves."""
        try:
            wait_until(seconds, self.leads, 0.02)
        except AssertionError:
            raise AssertionError("the meta does not lead after %s s; it said:\n%s" % (seconds, self.said()[-2000:]))
        return time.monotonic() - self.began

    def wait_said(self, pattern, seconds=10):
        try:
            return wait_until(seconds, lambda: re.search(pattern, self.said()), 0.02)
        except AssertionError:
            raise AssertionError("%r is not in what the meta said within %s s:\n%s" % (pattern, seconds,
                                                                                      self.said()[-2000:]))

    def sessions(self):
        """(server, principal, session, "begins" or "goes on") of each connection to ZooKeeper."""
        return re.findall(r"zk: connected to (\S+?)(?: as (\S+))?, session (\S+) (begins|goes on)", self.said())


def kerberos(bed, keytab, **names):
    """Environment of a meta that logs in from a keytab."""
    return bed.client_environment(keytab=keytab, **names)


GSSAPI = "zookeeper.sasl_mechanisms_type=GSSAPI"
