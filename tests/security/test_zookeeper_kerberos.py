"""Logins of metas to a ZooKeeper that demands Kerberos: which principal is asked for, and what becomes of it (S-004)."""
import os
import re
import subprocess
import time

import pytest
from meta_process import GSSAPI, Meta, kerberos
from testbed import Testbed, loopback_servers, wait_until

NAMES = ["zk1.markab.test", "zk2.markab.test", "zk3.markab.test"]
ADDRESSES = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]
HOSTS = list(zip(ADDRESSES, NAMES))  # forward and back, under our control


def start_bed(tmp_path_factory, kind):
    """A KDC that knows ZooKeeper's principals in one form only, with an ensemble of one and one of three."""
    bed = Testbed(tmp_path_factory.mktemp(kind))
    bed.add("pegasus/localhost")
    bed.daemons = bed.keytab("pegasus/localhost")
    hosts = NAMES if kind == "name" else ADDRESSES
    principals = ["zookeeper/" + h for h in hosts]
    bed.ensembles = {1: bed.zookeeper(principals[:1], name="one", wait=False),
                     3: bed.zookeeper(principals, name="three", wait=False)}
    for servers in bed.ensembles.values():
        bed.wait_zookeeper(servers)
    return bed


@pytest.fixture(scope="module")
def beds(tmp_path_factory):
    made = {kind: start_bed(tmp_path_factory, kind) for kind in ("name", "ip")}
    yield made
    for bed in made.values():
        bed.close()


def hosts_list(servers, listed):
    return ",".join("%s:%d" % (NAMES[i] if listed == "name" else ADDRESSES[i], s.port) for i, s in enumerate(servers))


def expected_host(rdns, listed):
    """05 §6.4: the name as listed; for an address its reverse name, where krb5.conf asks for reverse look-ups."""
    return "ip" if listed == "ip" and not rdns else "name"


def try_login(bed, servers, rdns, listed, folder, name, settings=()):
    """(verdict, seconds, principals that the KDC was asked for, the sentence in the log)."""
    seen = len(bed.requests())
    meta = Meta(folder, name, hosts_list(servers, listed), [GSSAPI, *settings],
                kerberos(bed, bed.daemons, rdns=rdns, canonicalize=True, hosts=HOSTS), root="/markab/" + name)
    try:
        refused = r"E .*zk: (the login to .*?); it is tried again"
        wait_until(20, lambda: meta.leads() or re.search(refused, meta.said()), 0.02)
        took = time.monotonic() - meta.began
        sentence = re.search(refused, meta.said())
        asked = sorted({s.split("@")[0] for s in bed.services_asked(seen) if s.startswith("zookeeper/")})
        return ("refused" if sentence else "leads"), took, asked, sentence.group(1) if sentence else ""
    finally:
        meta.stop()


def test_matrix(beds, tmp_path, capsys):
    """rdns x listed x principal x servers: the principal depends on nothing but the rule, and so does the outcome."""
    rows, wrong = [], []
    for count in (1, 3):
        for principal in ("name", "ip"):
            for listed in ("name", "ip"):
                for rdns in (True, False):
                    bed = beds[principal]
                    servers = bed.ensembles[count]
                    case = "%s-%s-%s-%d" % (rdns, listed, principal, count)
                    host = expected_host(rdns, listed)
                    want = "leads" if host == principal else "refused"
                    verdict, took, asked, sentence = try_login(bed, servers, rdns, listed, tmp_path, case)
                    allowed = ["zookeeper/" + h for h in (NAMES if host == "name" else ADDRESSES)[:count]]
                    fine = verdict == want and asked and set(asked) <= set(allowed)
                    if verdict == "refused":
                        fine = fine and all(word in sentence for word in (
                            "zookeeper/", "@MARKAB.TEST", "not found in Kerberos database", "sasl_service_fqdn"))
                    override = ""
                    if want == "refused":
                        # The explicit key helps in each of these cases, one name per server.
                        names = ",".join((NAMES if principal == "name" else ADDRESSES)[:count])
                        override, _, by_key, _ = try_login(bed, servers, rdns, listed, tmp_path, case + "-key",
                                                           ["zookeeper.sasl_service_fqdn=" + names])
                        fine = fine and override == "leads"
                    rows.append((str(rdns).lower(), listed, principal, count, asked[0] if asked else "-", verdict,
                                 "%.2f" % took, override or "-", "ok" if fine else "WRONG"))
                    if not fine:
                        wrong.append((case, verdict, asked, sentence))
    with capsys.disabled():
        head = ("rdns", "listed", "principal", "servers", "asked for (first)", "outcome", "s", "with key", "")
        print()
        for row in [head] + rows:
            print("%-6s %-7s %-10s %-8s %-28s %-8s %-6s %-9s %s" % tuple(str(c) for c in row))
    assert not wrong


def test_members_with_principals_of_their_own(beds, tmp_path, record_property):
    """The session and the leadership go from server to server, each under its own name."""
    bed = beds["name"]
    servers = bed.ensembles[3]
    meta = Meta(tmp_path, "rotating", hosts_list(servers, "name"), [GSSAPI],
                kerberos(bed, bed.daemons, hosts=HOSTS), root="/markab/rotating")
    try:
        meta.wait_leads()
        for _ in range(3):
            endpoint = meta.sessions()[-1][0]
            at = next(s for i, s in enumerate(servers) if endpoint.startswith(NAMES[i]))
            before = len(meta.sessions())
            bed.process(at).pause() if before == 1 else bed.process(at).kill()
            began = time.monotonic()
            wait_until(20, lambda: len(meta.sessions()) > before, 0.02)
            record_property("goes on elsewhere after, s", round(time.monotonic() - began, 2))
            bed.process(at).resume() if before == 1 else bed.process(at).start()
            bed.wait_zookeeper(servers)
        ids = {session for _, _, session, _ in meta.sessions()}
        principals = {principal.split("@")[0] for _, principal, _, _ in meta.sessions()}
        assert len(principals) >= 2 and principals <= {"zookeeper/" + n for n in NAMES}
        assert len(ids) == 1, meta.sessions()
        wait_until(10, meta.leads)
    finally:
        meta.stop()


def test_a_port_in_the_name_is_cut_off_with_a_warning(beds, tmp_path):
    bed = beds["name"]
    server = bed.ensembles[1][0]
    meta = Meta(tmp_path, "port", "127.0.0.1:%d" % server.port, [GSSAPI, "zookeeper.sasl_service_fqdn=%s:2181" % NAMES[0]],
                kerberos(bed, bed.daemons, hosts=HOSTS), root="/markab/port")
    try:
        meta.wait_leads()
        assert "the port of zk1.markab.test:2181 is cut off" in meta.said()
    finally:
        meta.stop()


@pytest.mark.parametrize("fault", ["kdc down", "no ticket", "stale keytab", "no sasl", "wrong server"])
def test_one_sentence_names_the_cause(beds, tmp_path, fault):
    bed = beds["name"]
    server = bed.ensembles[1][0]
    name = fault.replace(" ", "_")
    settings, environment = [GSSAPI], kerberos(bed, bed.daemons, hosts=HOSTS)
    expected = {
        "kdc down": r"asked for zookeeper/zk1.markab.test@MARKAB.TEST, and Kerberos said: .*Cannot contact any KDC",
        "no ticket": r"No Kerberos credentials available",
        "stale keytab": r"Kerberos said: (Decrypt|Preauth|Password).*; export the keytab anew",
        "no sasl": r"demands a login; set \[zookeeper\] sasl_mechanisms_type = GSSAPI",
        "wrong server": r"zookeeper/other.markab.test@MARKAB.TEST, and Kerberos said: .*not found in Kerberos"}
    if fault == "no ticket":
        environment = bed.client_environment(hosts=HOSTS)
        environment.update(KRB5_CLIENT_KTNAME=str(tmp_path / "none.keytab"))
    elif fault == "stale keytab":
        bed.kdc.administer(*(["addprinc -randkey stale"]))
        stale = bed.keytab("stale", path=str(tmp_path / "stale.keytab"))
        bed.keytab("stale", path=str(tmp_path / "newer.keytab"))
        environment = kerberos(bed, stale, hosts=HOSTS)
    elif fault == "no sasl":
        settings = []
    elif fault == "wrong server":
        settings.append("zookeeper.sasl_service_fqdn=other.markab.test")
    elif fault == "kdc down":
        bed.kdc_down()
    meta = Meta(tmp_path, name, "%s:%d" % (NAMES[0], server.port), settings, environment, root="/markab/" + name)
    try:
        meta.wait_said(expected[fault], 15)
        assert meta.process.runs()
        if fault == "kdc down":
            # It finds its way by itself.
            bed.kdc_up()
            meta.wait_leads(30)
    finally:
        bed.kdc_up()
        meta.stop()


def test_expired_tickets_and_a_kdc_outage(testbed, tmp_path, record_property):
    """A session outlives its ticket; a new connection after that gets a new one; a short KDC outage costs no session."""
    bed = testbed(max_life="8s")
    bed.add("pegasus/localhost")
    keytab = bed.keytab("pegasus/localhost")
    server = bed.zookeeper(["zookeeper/localhost"])[0]
    meta = Meta(tmp_path, "expiry", "localhost:%d" % server.port, [GSSAPI], kerberos(bed, keytab))
    try:
        meta.wait_leads()
        time.sleep(10)  # the ticket's life
        assert meta.leads() and len(meta.sessions()) == 1
        bed.kdc_down()
        bed.process(server).kill()
        bed.process(server).start()
        bed.wait_zookeeper([server])
        meta.wait_said(r"Kerberos said: .*(Cannot contact any KDC|expired)", 20)
        bed.kdc_up()
        began = time.monotonic()
        wait_until(30, meta.leads, 0.05)
        record_property("leads again after the KDC's return, s", round(time.monotonic() - began, 2))
        assert meta.process.runs()
    finally:
        meta.stop()


def zkcli(bed, server, *words, principal=None, keytab=None):
    """ZooKeeper's own command line, from Debian's jars; its output and exit code."""
    options = ["-Xmx128m", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error"]
    if principal:
        jaas = os.path.join(bed.folder, "jaas-%s.conf" % principal.replace("/", "_"))
        loopback_servers.write(jaas, """Client {
  com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true keyTab="%s" storeKey=true useTicketCache=false
  principal="%s@%s";
};
""" % (keytab, principal, bed.realm))
        options += ["-Djava.security.auth.login.config=" + jaas, "-Djava.security.krb5.conf=" + bed.kdc.krb5_conf,
                    "-Dzookeeper.server.principal=%s@%s" % (server.principal, bed.realm)]
    jars = ":".join(os.path.join(loopback_servers.JAVA_FOLDER, j) for j in loopback_servers.JARS)
    done = subprocess.run(["java", *options, "-cp", jars, "org.apache.zookeeper.ZooKeeperMain", "-timeout", "4000",
                           "-server", server.endpoint, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.stdout, done.returncode


def test_nobody_else_touches_the_nodes(testbed, tmp_path):
    """ACLs: the creator alone by default; the listed principals with sasl:; a tree that was open is closed once."""
    bed = testbed()
    for who in ("pegasus/localhost", "pegasus/second", "mallory"):
        bed.add(who)
    keytabs = {who: bed.keytab(who) for who in ("pegasus/localhost", "pegasus/second", "mallory")}
    server = bed.zookeeper(["zookeeper/localhost"])[0]

    def meta(name, who, mode):
        return Meta(tmp_path, name, "localhost:%d" % server.port, [GSSAPI, "zookeeper.acl_mode=" + mode],
                    kerberos(bed, keytabs[who]))
    open_one = meta("open", "pegasus/localhost", "open")
    open_one.wait_leads()
    open_one.stop()
    out, _ = zkcli(bed, server, "get", "/markab/test/apps", principal="mallory", keytab=keytabs["mallory"])
    assert "unlock" in out, out

    ids = "sasl:pegasus/localhost@%s,pegasus/second@%s" % (bed.realm, bed.realm)
    first, second = meta("first", "pegasus/localhost", ids), None
    try:
        first.wait_leads()
        first.wait_said("the access list of .* 0 failed")
        first.wait_said("lock/dsn.meta.server.leader got the access list")
        for words in (["get", "/markab/test/apps"], ["set", "/markab/test/apps", "lock"],
                      ["create", "/markab/test/apps/7", "x"],
                      ["set", "/markab/test/lock/dsn.meta.server.leader", "nobody"]):
            out, _ = zkcli(bed, server, *words, principal="mallory", keytab=keytabs["mallory"])
            assert "NoAuth" in out or "Insufficient permission" in out, out
        out, _ = zkcli(bed, server, "get", "/markab/test/apps")
        assert "unlock" not in out, out  # without a ticket not even a session
        second = meta("second", "pegasus/second", ids)
        second.wait_said("meta server .* leads")
        first.stop()
        wait_until(10, second.leads, 0.05)  # the other instance reads the same tree
    finally:
        first.stop()
        if second:
            second.stop()


def test_tickets_for_all_servers_are_there_before_they_are_needed(testbed, tmp_path):
    """Fetched with the login: going over to another server does not wait for the KDC, and nothing is asked for twice."""
    bed = testbed()
    bed.add("pegasus/localhost", "zookeeper/other.test")
    keytab = bed.keytab("pegasus/localhost")
    server = bed.zookeeper(["zookeeper/localhost"])[0]
    meta = Meta(tmp_path, "prefetch", "localhost:%d,other.test:1" % server.port, [
        GSSAPI, "security.enable_zookeeper_kerberos=true", "security.krb5_keytab=" + keytab,
        "security.krb5_principal=pegasus/localhost", "security.krb5_config=" + bed.kdc.krb5_conf], {})
    try:
        meta.wait_leads(20)
        asked = [s.split("@")[0] for s in bed.services_asked()]
        assert asked.count("zookeeper/other.test") == 1 and asked.count("zookeeper/localhost") == 1, asked
    finally:
        meta.stop()
