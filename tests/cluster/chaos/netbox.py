"""A cluster whose daemons each live in a network namespace of their own, joined by a bridge, so that the links between
them can be cut one by one and in one direction. Nothing outside of those namespaces is touched. Needs root and iproute2;
unavailable() says what is missing.
"""
import itertools
import os
import signal
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import small_disk  # noqa: E402

NET = "10.77.0."
PORT = 34801
META_PORT = 34601
_boxes = itertools.count()
# Nobody has this address: what is sent to it is seen by all ports of the bridge and taken by none.
NOBODY = "02:00:00:00:00:99"


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if check and done.returncode != 0:
        raise RuntimeError("ip %s: %s" % (" ".join(arguments), done.stdout.strip()))
    return done


def unavailable():
    """Why this machine cannot do it; "" when it can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = "mk%d-probe" % os.getpid()
    try:
        ip("netns", "add", name)
        ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", "p0", "netns", name)
    except FileNotFoundError:
        return "iproute2 is not installed"
    except RuntimeError as e:
        return "no network namespaces here: %s" % e
    finally:
        ip("netns", "del", name, check=False)
    return ""


class Node:
    def __init__(self, box, name, number, kind):
        self.box, self.name, self.kind = box, name, kind
        self.host = NET + str(number)
        self.space = "%s-%s" % (box.tag, name)
        self.folder = os.path.join(box.folder, name)
        self.address = "%s:%d" % (self.host, META_PORT if kind == "meta" else PORT)
        self.process = None
        self.cuts = set()

    def disk(self):
        return os.path.join(self.folder, "disk1")

    def command(self):
        settings = ["network.address=" + self.host, "network.port=" + self.address.rpartition(":")[2],
                    "core.data_dir=" + os.path.join(self.folder, "data"),
                    "core.log_file=" + os.path.join(self.folder, self.name + ".log"),
                    "replication.cluster_name=chaos", "meta_server.server_list=" + self.box.meta.address]
        if self.kind == "meta":
            settings.append("meta_server.state_dir=" + os.path.join(self.folder, "state"))
        else:
            settings += ["network.shards=1", "replication.data_dirs=disk1:" + self.disk(),
                         *self.box.settings]
        out = ["ip", "netns", "exec", self.space, os.path.join(self.box.bin, "markab-" + self.kind), "--config",
               self.box.config]
        for setting in settings:
            out += ["--set", setting]
        return out

    def start(self):
        os.makedirs(self.folder, exist_ok=True)
        with open(os.path.join(self.folder, "stderr"), "ab") as stderr:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr)

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def send(self, number):
        self.process.send_signal(number)

    def kill(self):
        """SIGKILL, and waits for the end."""
        self.send(signal.SIGKILL)
        self.process.wait()

    def stop(self, seconds=20):
        self.send(signal.SIGTERM)
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("%s did not end within %d s of SIGTERM" % (self.name, seconds))

    def log(self):
        with open(os.path.join(self.folder, self.name + ".log"), errors="replace") as text:
            return text.read()


class NetBox:
    """disk_mib: each replica server gets a disk of that size of its own (small_disks says whether it could)."""
    def __init__(self, folder, bin_dir, replicas=3, settings=(), disk_mib=0):
        self.folder, self.bin, self.settings = str(folder), bin_dir, list(settings)
        self.tag = "mk%d-%d" % (os.getpid(), next(_boxes))
        self.config = os.path.join(self.folder, "empty.ini")
        open(self.config, "w").close()
        self.hub = self.tag + "-hub"
        self.meta = Node(self, "meta1", 1, "meta")
        self.replicas = [Node(self, "replica%d" % (i + 1), 11 + i, "replica") for i in range(replicas)]
        self.outside = Node(self, "clients", 101, "client")
        self.spaces = []
        self.disks = []
        self.small_disks = False
        try:
            self._wire()
            if disk_mib:
                self.small_disks = all([self._mount(node.disk(), disk_mib) for node in self.replicas])
            self.meta.start()
            for node in self.replicas:
                node.start()
        except BaseException:
            self.close()
            raise

    def _wire(self):
        self._space(self.hub)
        ip("-n", self.hub, "link", "add", "br0", "type", "bridge")
        ip("-n", self.hub, "link", "set", "br0", "up")
        for number, node in enumerate([self.meta, *self.replicas, self.outside]):
            self._space(node.space)
            ip("link", "add", "eth0", "netns", node.space, "type", "veth", "peer", "name", "p%d" % number, "netns",
               self.hub)
            ip("-n", self.hub, "link", "set", "p%d" % number, "master", "br0", "up")
            ip("-n", node.space, "addr", "add", node.host + "/24", "dev", "eth0")
            ip("-n", node.space, "link", "set", "eth0", "up")
            ip("-n", node.space, "link", "set", "lo", "up")

    def _mount(self, folder, mib):
        os.makedirs(folder)
        mounted = small_disk.mount(folder, mib) == ""
        if mounted:
            self.disks.append(folder)
        return mounted

    def _space(self, name):
        ip("netns", "add", name)
        self.spaces.append(name)

    def cut(self, a, b, both=True):
        """What a sends to b is lost from here on; both ways unless said otherwise."""
        ip("-n", a.space, "neigh", "replace", b.host, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0")
        a.cuts.add(b.host)
        if both:
            self.cut(b, a, both=False)

    def heal(self):
        for node in [self.meta, *self.replicas, self.outside]:
            for host in node.cuts:
                ip("-n", node.space, "neigh", "del", host, "dev", "eth0")
            node.cuts.clear()

    def shell(self, command, timeout=60):
        done = subprocess.run(["ip", "netns", "exec", self.outside.space, os.path.join(self.bin, "markab-shell"),
                               "--meta", self.meta.address, "-c", command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
        if done.returncode != 0:
            raise RuntimeError("the shell failed at %r:\n%s" % (command, done.stdout))
        return done.stdout

    def inside(self, argv, **how):
        """A process in the clients' namespace."""
        return subprocess.Popen(["ip", "netns", "exec", self.outside.space, *argv], **how)

    def close(self):
        for node in [*self.replicas, self.meta]:
            if node.alive():
                node.send(signal.SIGCONT)
                node.kill()
        for name in self.spaces:
            for _ in range(50):  # the kernel lets go of it when its last process is gone
                if ip("netns", "del", name, check=False).returncode == 0:
                    break
                time.sleep(0.1)
        self.spaces = []
        small_disk.unmount(self.disks)
        self.disks = []
