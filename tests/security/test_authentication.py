"""S-000 of spec 05 §11 and what belongs to it: an authenticated cluster of real daemons beside a real KDC."""
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest
from cluster import BIN, Cluster, Watcher, make_bed
from testbed import wait_until

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(REPOSITORY, "tests", "cluster"))
import wire_client  # noqa: E402

LIST, SELECT, INITIATE, SUCC, FAIL = 1, 3, 5, 8, 10
# How long clients may take after the last daemon is up, on a machine that does other things as well.
BACK_SECONDS = 20
RESTARTS = int(os.environ.get("MARKAB_RESTARTS", "10"))


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    bed = make_bed(tmp_path_factory.mktemp("kerberos"))
    yield bed
    bed.close()


@pytest.fixture(scope="module")
def cluster(bed):
    cluster = Cluster(bed).start()
    yield cluster
    cluster.stop()


# ---- raw wire ------------------------------------------------------------------------------------------------------
def negotiation(status, token=b"", seqid=1):
    argument = struct.pack(">bhibhi", 8, 1, status, 12, 2, len(token)) + token + b"\0"
    return wire_client.frame(wire_client.message("RPC_NEGOTIATION", seqid, argument))


def query(table, seqid=7):
    argument = wire_client.wire_replay.write_struct("query_cfg_request", [[1, 11, table.encode()], [2, 15, [8]]])
    return wire_client.frame(wire_client.message(wire_client.QUERY_CFG, seqid, argument))


class Raw(wire_client.Connection):
    def negotiate(self, status, token=b""):
        """(status, text) of the answer."""
        self.socket.settimeout(10)
        self.socket.sendall(negotiation(status, token))
        return self.read_negotiation()

    def read_negotiation(self):
        body = self.read_frame()
        # The result struct ends the frame: 0c 0000 { 08 0001 status, 0c 0002 length bytes } 00 00.
        start = body.rindex(b"\x0c\x00\x00\x08\x00\x01") + 6
        status, _, _, length = struct.unpack(">ibhi", body[start:start + 11])
        return status, body[start + 11:start + 11 + length].decode(errors="replace")

    def ended_within(self, seconds):
        self.socket.settimeout(seconds)
        try:
            return self.socket.recv(1) == b""
        except socket.timeout:
            return False


def test_s000_clients_of_both_kinds_authenticate(cluster):
    """(e): Cyrus needs five calls, the JDK four; both cross zero-length tokens."""
    cluster.shell("use temp; set h s v; get h s")
    done = cluster.java()
    assert "steps 4" in done.stdout and "ok 8" in done.stdout, done.stdout
    assert cluster.metric("meta", "security_negotiations_succeeded") > 0
    assert cluster.metric("replica1", "security_dials_authenticated") > 0


def test_s000_list_comes_through_though_a_query_came_first(cluster):
    """(b): LIST is answered at once; the query after success only, with data."""
    raw = Raw(cluster.meta)
    began = time.monotonic()
    raw.socket.sendall(query("temp") + negotiation(LIST))
    assert raw.read_negotiation() == (2, "GSSAPI")
    assert time.monotonic() - began < 0.9  # not after the grace of a second; 100 ms on a machine of its own
    raw.close()
    done = cluster.java("early")
    assert "early ERR_OK" in done.stdout and "ok 8" in done.stdout, done.stdout


def test_s000_a_query_alone_is_refused_after_the_grace(cluster):
    """(c)"""
    raw = Raw(cluster.meta)
    began = time.monotonic()
    answer = raw.call(query("temp"), 5)
    took = time.monotonic() - began
    assert answer.error == "ERR_OK" and answer.field(1) == b"ERR_UNAUTHENTICATED"
    assert took >= 1.0
    began = time.monotonic()
    assert raw.call(query("temp"), 5).field(1) == b"ERR_UNAUTHENTICATED"
    assert time.monotonic() - began < 0.9
    assert raw.negotiate(LIST) == (2, "GSSAPI")  # still usable
    raw.close()


@pytest.mark.parametrize("steps", [
    [(SELECT, b"GSSAPI")],
    [(LIST, b""), (SELECT, b"DIGEST-MD5")],
    [(LIST, b""), (SELECT, b"GSSAPI"), (INITIATE, b"garbage")],
    [(LIST, b""), (LIST, b"")],
])
def test_s000_failures_are_told_and_end_at_once(cluster, steps):
    """(d)"""
    raw = Raw(cluster.replicas[0])
    for status, token in steps:
        got, text = raw.negotiate(status, token)
    assert got == FAIL and ":" in text, text
    began = time.monotonic()
    assert raw.ended_within(2)
    assert time.monotonic() - began < 0.9
    raw.close()


def test_nobody_gets_an_answer_without_a_ticket(cluster):
    done = cluster.try_shell("ls", user=None, arguments=["--timeout", "3000"])
    assert done.returncode != 0 and "UNAUTHENTICATED" in done.stdout.upper(), done.stdout
    done = cluster.try_shell("use temp; get h s", user=None, arguments=["--timeout", "3000"])
    assert done.returncode != 0, done.stdout


def test_pages_are_shown_here_and_changes_are_not(cluster):
    """05 §8.6"""
    import urllib.error
    import urllib.request
    assert urllib.request.urlopen("http://%s/version" % cluster.meta, timeout=5).status == 200
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen("http://%s/updateConfig?security.mandatory_auth=false" % cluster.meta, timeout=5)
    assert refused.value.code == 403


def test_each_cause_is_named(cluster, bed):
    """The error that the application sees names the cause, at once."""
    def fails(user="alice", **security):
        began = time.monotonic()
        done = cluster.try_shell("use temp; get h s", user=user, config=cluster.client_config(user, **security))
        assert done.returncode != 0 and time.monotonic() - began < 15, done.stdout
        return done.stdout
    assert "unknown_principal" in fails(krb5_principal="nobody", krb5_keytab=nobodys_keytab(bed))
    assert "unknown_service_principal" in fails(service_name="nosuch")
    assert "keytab_missing" in fails(krb5_keytab="/nonexistent/keytab")
    stale = bed.keytab("carol", path=bed.folder + "/carol.keytab") if bed.add("carol") is None else None
    bed.keytab("carol", path=bed.folder + "/carol-new.keytab")
    assert "stale_key" in fails(krb5_principal="carol", krb5_keytab=stale)
    bed.kdc_down()
    try:
        assert "kdc_unreachable" in fails()
    finally:
        bed.kdc_up()
    expired = fails(krb5_principal=None, krb5_keytab=None)  # no ticket cache
    assert "no_credentials" in expired or "NoCredentials" in expired, expired


def nobodys_keytab(bed):
    """A key of a principal that the KDC no longer knows."""
    bed.add("nobody")
    path = bed.keytab("nobody", path=bed.folder + "/nobody.keytab")
    bed.kdc.administer("delprinc -force nobody")
    return path


def test_a_user_with_a_ticket_cache(cluster, bed):
    """kinit instead of a keytab."""
    cache = bed.ticket("alice", bed.folder + "/alice.keytab")
    config = cluster.client_config("alice", krb5_principal=None, krb5_keytab=None)
    cluster.shell("use temp; set cache a b; get cache a", config=config, environment=dict(KRB5CCNAME=cache))


def test_a_rotated_keytab_is_used_without_a_restart(cluster, bed):
    """New keys for the service: the old keytab is stale; with the new one in place all goes on."""
    keytab = cluster.security["krb5_keytab"]
    bed.keytab("pegasus/localhost", path=keytab)  # appended, as ktadd does
    config = cluster.client_config("bob")
    cluster.shell("use temp; set rotated s v; get rotated s", user="bob", config=config)
    # The daemons' own tickets for the service are older than its new key, until they notice.
    cluster.kill("replica1")
    cluster.daemons["replica1"].start()
    cluster.wait_alive()


def test_s000_everything_is_killed_and_started_again(cluster, bed):
    """(a): a C++ client and a JDK client live through MARKAB_RESTARTS restarts of all daemons; the KDC is there, slow, or
    away for three seconds, from whose end the time is taken."""
    java = Watcher(cluster.java_command("watch"))
    shell = Watcher([os.path.join(BIN, "markab-shell"), "--config", cluster.client_config("alice"), "--table", "temp",
                     "--timeout", "2000"])
    feeding = threading.Thread(target=feed, args=(shell, "set h s v"), daemon=True)
    feeding.start()
    try:
        wait_until(30, lambda: java.good_since(0) is not None and shell.good_since(0) is not None)
        figures = {"there": [], "slow": [], "away": []}
        for number in range(RESTARTS):
            kdc = list(figures)[number % len(figures)]
            cluster.kill_all()
            if kdc == "slow":
                bed.kdc_delay(0.5)
            if kdc == "away":
                bed.kdc_down()
            cluster.start_all()
            if kdc == "away":
                time.sleep(3)
                bed.kdc_up()
            up = time.monotonic()
            wait_until(BACK_SECONDS, lambda: java.good_since(up) and shell.good_since(up), 0.05)
            figures[kdc].append((round(java.good_since(up), 2), round(shell.good_since(up), 2)))
            bed.kdc_up()
            cluster.wait_healthy()
            settled = time.monotonic()
            wait_until(10, lambda: len(java.since(settled)) >= 10, 0.1)
            later = [line for _, line in java.since(settled)]
            assert all(line.startswith("ok") for line in later), later
            said = [line for _, line in shell.since(settled)]
            assert any(line.upper().startswith("OK") for line in said), said
            assert not any(line.upper().startswith("ERROR") for line in said), said
        print("seconds to the first success of the JDK client and of the shell:", figures)
    finally:
        java.close()
        shell.close()


def feed(watcher, line):
    """Types the same line over and over, until the program ends."""
    try:
        while True:
            watcher.child.stdin.write(line + "\n")
            watcher.child.stdin.flush()
            time.sleep(0.1)
    except (OSError, ValueError):
        pass


def test_the_doctor_finds_nothing_wrong(cluster):
    done = cluster.doctor("replica1")
    assert "fail" not in [line.split()[0] for line in done.stdout.splitlines()], done.stdout
    for check in ("keytab", "KDC", "ticket", "clock", "self-negotiation", "port", "directory"):
        assert check in done.stdout, done.stdout
    print(done.stdout)


def test_the_doctor_names_what_is_wrong(cluster, bed):
    config = cluster.config("replica1")
    broken = config + ".broken"
    with open(config) as text, open(broken, "w") as out:
        out.write(text.read().replace("service_fqdn = localhost", "service_fqdn = elsewhere"))
    done = subprocess.run([os.path.join(BIN, "markab-shell"), "doctor", "--config", broken, "--json"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 2 and "pegasus/elsewhere" in done.stdout and '"remedy"' in done.stdout, done.stdout
    bed.kdc_down()
    try:
        done = cluster.doctor("replica1")
    finally:
        bed.kdc_up()
    assert done.returncode == 2 and "Cannot contact any KDC" in done.stdout, done.stdout


def test_2000_connections_at_once(bed):
    many = Cluster(bed, replicas=1, max_unauthenticated_per_ip="4096", negotiation_timeout_ms="120000",
                   mandatory_auth="true")
    many.start(partitions=4)
    try:
        config = many.client_config("alice", negotiation_timeout_ms="120000")
        began = time.monotonic()
        done = subprocess.run([os.path.join(BIN, "markab-bench"), "--config", config, "--workload", "fill", "--keys",
                               "20000", "--connections", "2000", "--timeout", "120000", "--table", "temp"],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=280)
        took = time.monotonic() - began
        assert done.returncode == 0 and " 0 errors" in done.stdout, done.stdout
        succeeded = many.metric("replica1", "security_negotiations_succeeded")
        assert succeeded >= 2000
        assert many.metric("replica1", "security_negotiations_failed") == 0
        assert many.metric("replica1", "security_strangers_turned_away") == 0
        print("%d negotiations and the load in %.1f s" % (succeeded, took))
    finally:
        many.stop()


def test_cpu_per_operation_is_that_of_a_cluster_without(bed):
    """Negotiation is once per connection. Figures of a busy machine: printed; the bound is a generous one."""
    found = {}
    clusters = {"with": Cluster(bed, replicas=1), "without": Cluster(bed, replicas=1, enable_auth="false",
                                                                      mandatory_auth="false")}
    try:
        configs = {}
        for name, cluster in clusters.items():
            user = "ops" if name == "with" else None
            configs[name] = cluster.client_config(user)
            cluster.start_all()
            wait_until(30, lambda c=cluster, u=user: c.try_shell("create temp -p 4 -r 1", user=u).returncode == 0, 0.2)
        for workload, seconds in [("fill", 1)] + [("get", 2)] * 3:
            for name, cluster in clusters.items():
                done = subprocess.run([os.path.join(BIN, "markab-bench"), "--config", configs[name], "--workload",
                                       workload, "--keys", "2000", "--connections", "8", "--seconds", str(seconds),
                                       "--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True, timeout=120)
                assert done.returncode == 0, done.stderr
                if workload == "get":
                    cost = json.loads(done.stdout.splitlines()[-1])["cpu_us_per_op"]["total"]
                    found.setdefault(name, []).append(cost)
        print("processor time per get in us, without and with authentication:", found)
        assert min(found["with"]) < 1.5 * min(found["without"]), found
    finally:
        for cluster in clusters.values():
            cluster.stop()


def test_strangers_hold_little_and_are_cut(bed):
    few = Cluster(bed, replicas=1, max_unauthenticated_per_ip="200", negotiation_timeout_ms="2000")
    few.start(table=None)
    try:
        before = resident_kib(few.daemons["replica1"].pid)
        host, port = few.replicas[0].split(":")
        peers = []
        for i in range(400):
            # From another address than the test's own look at the metrics.
            peer = socket.create_connection((host, int(port)), timeout=5, source_address=("127.0.0.2", 0))
            peers.append(peer)
            if i >= 80:
                continue  # says nothing
            try:  # the beginning of a frame of a MiB: 63 of these fit into what strangers may hold
                peer.sendall(b"THFT" + struct.pack(">IIIIIiiiiQ", 0, 48, 0, 1 << 20, 0, 0, 0, 0, 0, 0) + b"x" * 20000)
            except OSError:
                pass
        assert few.metric("replica1", "security_strangers") <= 201  # with the look itself
        grown = resident_kib(few.daemons["replica1"].pid) - before
        turned_away = few.metric("replica1", "security_strangers_turned_away")
        assert turned_away >= 150, turned_away
        assert grown < 64 << 10, grown
        wait_until(10, lambda: few.metric("replica1", "security_strangers") <= 1, 0.1)  # the look itself
        assert few.metric("replica1", "security_parked_bytes") == 0
        print("400 strangers, %d turned away: %d KiB" % (turned_away, grown))
    finally:
        few.stop()


def resident_kib(pid):
    with open("/proc/%d/status" % pid) as text:
        return int(next(line for line in text if line.startswith("VmRSS")).split()[1])


def test_s_acl_users_and_tables(bed):
    """S-ACL without Ranger, 05 §7.1 to §7.3: users by RPC; a table's allowed_users; refusals in the audit lines."""
    ruled = Cluster(bed, enable_acl="true")
    ruled.start()
    try:
        ruled.shell("ls", user="bob")       # open to all
        ruled.shell("use temp; set a b c", user="bob")  # no list yet: public
        denied = ruled.try_shell("create other -p 2 -r 3", user="bob")
        assert denied.returncode != 0 and "ACL_DENY" in denied.stdout.upper(), denied.stdout
        assert "audit: bob@" in ruled.log("meta") and "RPC_CM_CREATE_APP" in ruled.log("meta")
        ruled.shell("use temp; set_app_envs replica_access_controller.allowed_users alice", user="ops")
        assert "audit: ops@" in ruled.log("meta")
        wait_until(40, lambda: ruled.try_shell("use temp; get a b", user="bob",
                                               arguments=["--timeout", "2000"]).returncode != 0, 0.5)
        denied = ruled.try_shell("use temp; set a b d", user="bob")
        assert denied.returncode != 0 and "ACL_DENY" in denied.stdout.upper(), denied.stdout
        wait_until(40, lambda: ruled.try_shell("use temp; set a b e; get a b", user="alice").returncode == 0, 0.5)
        ruled.shell("use temp; set a b f", user="ops")  # a super user
    finally:
        ruled.stop()


def test_s000_daemons_started_without_a_kdc(bed):
    """(f): they stay up, answer their accepting side and say why they are not at work; then all goes by itself."""
    late = Cluster(bed)
    bed.kdc_down()
    try:
        late.start_all()
        wait_until(20, lambda: "kdc_unreachable" in late.log("replica1"), 0.2)
        raw = Raw(late.meta)
        assert raw.negotiate(LIST) == (2, "GSSAPI")
        raw.close()
        assert all(d.runs() for d in late.daemons.values())
    finally:
        bed.kdc_up()
    try:
        back = time.monotonic()
        late.wait_alive(70)
        print("all joined %.1f s after the KDC's return" % (time.monotonic() - back))
    finally:
        late.stop()


def test_tickets_of_a_minute_are_renewed_and_outlived(tmp_path):
    """Connections outlive their tickets; renewal goes on; an outage of the KDC costs few attempts: (f) and (g)."""
    bed = make_bed(tmp_path, max_life="20s")
    short = Cluster(bed)
    try:
        short.start()
        first = short.metric("replica1", "security_ticket_expires_at")
        watch = Watcher(short.java_command("watch"))
        wait_until(30, lambda: watch.good_since(0) is not None)
        wait_until(60, lambda: short.metric("replica1", "security_ticket_expires_at") > first, 0.5)
        assert short.metric("replica1", "security_logins") >= 2
        bed.kdc_down()
        asked = len(bed.requests())
        began = time.time()
        ends = short.metric("replica1", "security_ticket_expires_at")
        wait_until(60, lambda: time.time() > ends + 5, 0.5)
        gone = time.monotonic()
        short.try_shell("nodes -d", user="ops")  # fails: a new client gets no ticket
        wait_until(10, lambda: len(watch.since(gone)) > 5, 0.1)
        assert any(line.startswith("ok") for _, line in watch.since(gone)), watch.since(gone)
        assert short.metric("replica1", "security_login_failures") <= 10
        bed.kdc_up()
        short.wait_alive(70)
        wait_until(70, lambda: short.metric("replica1", "security_ticket_expires_at") > time.time(), 0.5)
        short.shell("use temp; set h s v")
        print("an outage of %d s: %d failed logins, %d requests seen by the KDC" % (
            time.time() - began, short.metric("replica1", "security_login_failures"), len(bed.requests()) - asked))
        watch.close()
    finally:
        short.stop()
        bed.close()
