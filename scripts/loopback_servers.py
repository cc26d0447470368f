"""A Kerberos KDC and a ZooKeeper that demands it, on loopback addresses and free ports, from Debian's packages.

Kdc and ZooKeeper write their files into a folder of their own and say with which command and environment they run; who
starts and watches the processes (the onebox' supervisor, a test) is not their affair. No path owned by root is touched.
Standard library only. Packages: groups kerberos and zookeeper of scripts/install_packages.
"""
import os
import random
import socket
import subprocess

JAVA_FOLDER = "/usr/share/java"
# zookeeper.jar names what it needs in its manifest, but for something to log with.
JARS = ("zookeeper.jar", "slf4j-simple.jar")


def free_port(address="127.0.0.1", low=10000, high=32000):
    """A port below the kernel's range for outgoing connections, which would otherwise take it before its user does."""
    for _ in range(1000):
        port = random.randrange(low, high)
        with socket.socket() as probe:
            try:
                probe.bind((address, port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port between %d and %d" % (low, high))


def free_port_on(addresses):
    """One port that is free on all of the addresses."""
    for _ in range(100):
        port = free_port(addresses[0])
        try:
            for address in addresses[1:]:
                with socket.socket() as probe:
                    probe.bind((address, port))
            return port
        except OSError:
            continue
    raise RuntimeError("no port is free on all of " + ", ".join(addresses))


def program(name):
    """Debian puts what serves into sbin, which is not on everybody's path."""
    for folder in ("/usr/sbin", "/usr/bin", "/sbin", "/bin"):
        path = os.path.join(folder, name)
        if os.access(path, os.X_OK):
            return path
    raise FileNotFoundError("%s is missing: apt-get install krb5-kdc krb5-admin-server krb5-user" % name)


def write(path, text):
    with open(path, "w") as out:
        out.write(text)
    return path


def on_off(value):
    return "true" if value else "false"


class Kdc:
    """One realm's KDC. After create(), `command` and `environment` start it.

    port is where it listens; advertised_port is what krb5.conf names (a proxy's, in tests of slow KDCs)."""

    def __init__(self, folder, realm="MARKAB.TEST", port=None, advertised_port=None, max_life="10h"):
        self.folder = os.path.abspath(folder)
        self.realm = realm
        self.port = port or free_port()
        self.advertised_port = advertised_port or self.port
        self.max_life = max_life
        self.log = os.path.join(self.folder, "kdc.log")
        self.krb5_conf = os.path.join(self.folder, "krb5.conf")
        self.kdc_conf = os.path.join(self.folder, "kdc.conf")
        # Administration happens on the files; it must not wait for a proxy.
        self.environment = dict(KRB5_CONFIG=self.krb5_conf, KRB5_KDC_PROFILE=self.kdc_conf)
        self.command = [program("krb5kdc"), "-n", "-r", realm]

    def create(self):
        """The files and an empty database; keeps one that is there."""
        os.makedirs(self.folder, exist_ok=True)
        self.write_client_config(self.krb5_conf)
        write(self.kdc_conf, """[kdcdefaults]
    kdc_listen = 127.0.0.1:{port}
    kdc_tcp_listen = 127.0.0.1:{port}
[realms]
    {realm} = {{
        database_name = {folder}/principals
        key_stash_file = {folder}/stash
        acl_file = {folder}/acl
        max_life = {life}
        max_renewable_life = 7d
        supported_enctypes = aes256-cts-hmac-sha1-96:normal
    }}
[logging]
    kdc = FILE:{log}
""".format(port=self.port, realm=self.realm, folder=self.folder, life=self.max_life, log=self.log))
        write(os.path.join(self.folder, "acl"), "")
        if not os.path.exists(os.path.join(self.folder, "principals")):
            self._run([program("kdb5_util"), "create", "-s", "-P", "loopback", "-r", self.realm])
        return self

    def write_client_config(self, path, rdns=False, canonicalize=False):
        """A krb5.conf; `rdns` and `canonicalize` say what the library does to the names of services."""
        return write(path, """[libdefaults]
    default_realm = {realm}
    dns_lookup_kdc = false
    dns_lookup_realm = false
    dns_canonicalize_hostname = {canonicalize}
    rdns = {rdns}
    udp_preference_limit = 1
[realms]
    {realm} = {{
        kdc = 127.0.0.1:{port}
    }}
""".format(realm=self.realm, canonicalize=on_off(canonicalize), rdns=on_off(rdns), port=self.advertised_port))

    def add(self, *principals, options=""):
        """Principals with random keys."""
        self.administer(*["addprinc -randkey %s %s" % (options, p) for p in principals])

    def keytab(self, path, *principals, new_keys=True):
        """Appends the principals' keys to a keytab. New keys make an older keytab stale."""
        self.administer(*["ktadd -q %s-k %s %s" % ("" if new_keys else "-norandkey ", path, p) for p in principals])
        return path

    def administer(self, *queries):
        """Commands of kadmin.local; its output. Raises when one failed, which kadmin tells in words only."""
        text = self._run([program("kadmin.local"), "-r", self.realm], "\n".join(queries) + "\n")
        for line in text.splitlines():
            for word in ("No such", "does not exist", "Unknown", "not found", "already exists", "while "):
                if word in line and "WARNING" not in line:
                    raise RuntimeError("kadmin.local: " + line)
        return text

    def _run(self, command, text=""):
        done = subprocess.run(command, input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=dict(os.environ, **self.environment), timeout=60)
        if done.returncode != 0:
            raise RuntimeError("%s ended with %d:\n%s" % (command[0], done.returncode, done.stdout))
        return done.stdout


class ZooKeeper:
    """One server of an ensemble; write() once all members are known, then `command` starts it.

    Without a principal it takes anybody, as a plain ZooKeeper does; with `passwords` {user: password} only these users,
    by DIGEST-MD5."""

    def __init__(self, folder, address="127.0.0.1", port=None, kdc=None, principal=None, keytab=None, tick_ms=500,
                 force_sync=True, heavy=False, passwords=None):
        self.folder = os.path.abspath(folder)
        self.address = address
        self.port = port or free_port(address)
        self.kdc = kdc
        self.principal = principal
        self.keytab = keytab
        self.passwords = passwords or {}
        self.tick_ms = tick_ms
        self.force_sync = force_sync
        self.heavy = heavy  # much data: more memory, all of the compiler, at the price of a slower start
        self.members = [self]
        self.log = os.path.join(self.folder, "zookeeper.log")
        self.environment = {}

    @property
    def endpoint(self):
        return "%s:%d" % (self.address, self.port)

    def write(self, members=(), quorum_port=0, election_port=0):
        """`members` are the ensemble's servers in the order of their numbers, this one among them."""
        os.makedirs(os.path.join(self.folder, "data"), exist_ok=True)
        lines = ["tickTime=%d" % self.tick_ms, "initLimit=20", "syncLimit=10", "dataDir=%s/data" % self.folder,
                 "clientPort=%d" % self.port, "clientPortAddress=%s" % self.address, "admin.enableServer=false",
                 "maxClientCnxns=0", "4lw.commands.whitelist=ruok,srvr,cons", "autopurge.purgeInterval=1"]
        if self.principal or self.passwords:
            lines += ["authProvider.1=org.apache.zookeeper.server.auth.SASLAuthenticationProvider",
                      "sessionRequireClientSASLAuth=true"]
        if self.passwords:
            users = " ".join('user_%s="%s"' % pair for pair in sorted(self.passwords.items()))
            write(os.path.join(self.folder, "jaas.conf"), "Server {\n"
                  "  org.apache.zookeeper.server.auth.DigestLoginModule required %s;\n};\n" % users)
        if self.principal:
            write(os.path.join(self.folder, "jaas.conf"), """Server {{
  com.sun.security.auth.module.Krb5LoginModule required
  useKeyTab=true keyTab="{keytab}" storeKey=true useTicketCache=false isInitiator=false
  principal="{principal}@{realm}";
}};
""".format(keytab=self.keytab, principal=self.principal, realm=self.kdc.realm))
        if len(members) > 1:
            lines += ["server.%d=%s:%d:%d" % (i + 1, m.address, quorum_port, election_port)
                      for i, m in enumerate(members)]
            write(os.path.join(self.folder, "data", "myid"), "%d\n" % (members.index(self) + 1))
        write(os.path.join(self.folder, "zoo.cfg"), "\n".join(lines) + "\n")
        return self

    @property
    def command(self):
        options = ["-Xmx1g", "-Xms1g"] if self.heavy else ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        options += ["-Xshare:auto", "-Djava.net.preferIPv4Stack=true", "-Dzookeeper.jmx.log4j.disable=true",
                    "-Dorg.slf4j.simpleLogger.showDateTime=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=info",
                    "-Djute.maxbuffer=8388608"]
        if not self.force_sync:
            options.append("-Dzookeeper.forceSync=no")
        if self.principal:
            options.append("-Djava.security.krb5.conf=" + self.kdc.krb5_conf)
        if self.principal or self.passwords:
            options.append("-Djava.security.auth.login.config=%s/jaas.conf" % self.folder)
        return ["java", *options, "-cp", ":".join(os.path.join(JAVA_FOLDER, j) for j in JARS),
                "org.apache.zookeeper.server.quorum.QuorumPeerMain", os.path.join(self.folder, "zoo.cfg")]

    def serves(self):
        """Whether it takes clients: alone, or as a member of an ensemble that has a leader."""
        return "Mode:" in self.ask("srvr")

    def ask(self, word):
        """The answer to one of ZooKeeper's four-letter words; empty when it gives none."""
        try:
            with socket.create_connection((self.address, self.port), timeout=2) as s:
                s.sendall(word.encode())
                answer = b""
                while True:
                    more = s.recv(65536)
                    if not more:
                        return answer.decode(errors="replace")
                    answer += more
        except OSError:
            return ""


def ensemble(folder, count, kdc=None, principals=None, keytab=None, **options):
    """`count` servers on 127.0.0.1, .2 and so on, with one port. `principals` names each one's own."""
    addresses = ["127.0.0.%d" % (i + 1) for i in range(count)]
    port = free_port_on(addresses)
    servers = [ZooKeeper(os.path.join(folder, "zookeeper%d" % (i + 1)), address, port, kdc,
                         principals[i] if principals else None, keytab, **options)
               for i, address in enumerate(addresses)]
    quorum, election = free_port_on(addresses), free_port_on(addresses)
    for server in servers:
        server.members = servers
        server.write(servers, quorum, election)
    return servers
