"""The doctor at ZooKeeper: it logs in to each server as the meta server would, and says what came of it and what helps."""
import json
import os
import subprocess

import pytest
from meta_process import BIN, GSSAPI, Meta, kerberos
from test_zookeeper_kerberos import zkcli
from testbed import Testbed, free_port

NAMES = ["zk1.markab.test", "zk2.markab.test"]
HOSTS = [("127.0.0.1", NAMES[0]), ("127.0.0.2", NAMES[1])]
PRINCIPAL = "zookeeper/zk1.markab.test@MARKAB.TEST"


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    bed = Testbed(tmp_path_factory.mktemp("doctor"))
    bed.add("pegasus/localhost")
    bed.daemons = bed.keytab("pegasus/localhost")
    bed.strict = bed.zookeeper(["zookeeper/" + n for n in NAMES], name="strict", wait=False)
    bed.plain = bed.zookeeper((), name="plain", wait=False)[0]
    bed.wait_zookeeper(bed.strict + [bed.plain])
    yield bed
    bed.close()


@pytest.fixture
def doctor(bed, tmp_path):
    """Runs it with settings upon those of a good meta server of the strict ensemble; (findings, exit code, text)."""
    def run(*settings, environment=(), hosts=HOSTS):
        sections = {"network.port": str(free_port()), "core.data_dir": str(tmp_path),
                    "meta_server.cluster_root": "/markab/doctor",
                    "zookeeper.hosts_list": ",".join("%s:%d" % (n, s.port) for n, s in zip(NAMES, bed.strict)),
                    "zookeeper.sasl_mechanisms_type": "GSSAPI", "security.enable_zookeeper_kerberos": "true",
                    "security.krb5_keytab": bed.daemons, "security.krb5_principal": "pegasus/localhost"}
        for setting in settings:
            key, _, value = setting.partition("=")
            sections[key] = value
        path = str(tmp_path / "config.ini")
        with open(path, "w") as out:
            for section in sorted({key.split(".")[0] for key in sections}):
                out.write("[%s]\n" % section)
                out.writelines("%s = %s\n" % (key.split(".")[1], value) for key, value in sorted(sections.items())
                               if key.startswith(section + "."))
        command = [os.path.join(BIN, "markab-shell"), "doctor", "--config", path]
        surroundings = dict(os.environ, **dict(kerberos(bed, bed.daemons, hosts=hosts), **dict(environment)))
        if "MARKAB_SHOW_DOCTOR" in os.environ:  # as an operator sees it
            subprocess.run(command, stdin=subprocess.DEVNULL, env=surroundings, timeout=120)
        done = subprocess.run(command + ["--json"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=120, env=surroundings)
        print(done.stdout)
        found = [json.loads(line) for line in done.stdout.splitlines()]
        return found, done.returncode
    return run


def of(found, check, result=None):
    return [f for f in found if f["check"] == check and result in (None, f["result"])]


def test_a_good_configuration(bed, doctor):
    """Each server under its own principal, whom it takes us for, and what the root's access list is."""
    meta = Meta(bed.folder, "doctored", ",".join("%s:%d" % (n, s.port) for n, s in zip(NAMES, bed.strict)), [GSSAPI],
                kerberos(bed, bed.daemons, hosts=HOSTS), root="/markab/doctor")
    try:
        meta.wait_leads()
    finally:
        meta.stop()
    found, code = doctor()
    assert code < 2 and not [f for f in found if f["result"] == "fail"]
    logins = of(found, "ZooKeeper login", "ok")
    assert len(logins) == 2
    for name, login in zip(NAMES, logins):
        assert "as a client of zookeeper/%s@MARKAB.TEST" % name in login["found"]
        assert "takes us for sasl:pegasus/localhost" in login["found"]
    access = of(found, "ZooKeeper access")
    assert len(access) == 2 and all("sasl:pegasus/localhost" in a["found"] and a["result"] == "ok" for a in access)
    listed, _ = zkcli(bed, bed.strict[0], "ls", "/", principal="pegasus/localhost", keytab=bed.daemons)
    assert "markab" in listed and "markab-doctor" not in listed, listed  # it leaves nothing behind


def test_a_plain_zookeeper(bed, doctor):
    plain = ["zookeeper.hosts_list=127.0.0.1:%d" % bed.plain.port, "zookeeper.sasl_mechanisms_type=",
             "security.enable_zookeeper_kerberos=false"]
    found, code = doctor(*plain)
    assert code < 2, found
    assert "serves us without a login" in of(found, "ZooKeeper login", "ok")[0]["found"]
    # Kerberos is to be used and is not switched on: the meta server would refuse to start.
    found, code = doctor(plain[0], plain[1])
    assert code == 2 and "will not start" in of(found, "ZooKeeper", "fail")[0]["found"], found
    # Asked to log in to a server that knows nothing of it.
    found, code = doctor(plain[0])
    assert code == 2 and len(of(found, "ZooKeeper login", "fail")) == 1


CASES = {
    # what is wrong: settings, what is found, what helps
    "no mechanism": (["zookeeper.sasl_mechanisms_type="], "demands a login", "sasl_mechanisms_type = GSSAPI"),
    "another name": (["zookeeper.sasl_service_fqdn=elsewhere.test"], "zookeeper/elsewhere.test@MARKAB.TEST",
                     "sasl_service_fqdn"),
    "another service": (["zookeeper.sasl_service_name=keeper"], "keeper/zk1.markab.test@MARKAB.TEST", "create keeper/"),
    "a keytab of nobody": (["security.krb5_principal=nobody"], "nobody@MARKAB.TEST is not in", ""),
    "no keytab": (["security.krb5_keytab=/nonexistent/keytab"], "/nonexistent/keytab", ""),
    "no such name": (["zookeeper.hosts_list=zk9.markab.test:2181"], "has no IPv4 address", "hosts_list"),
    "one name too many": (["zookeeper.sasl_service_fqdn=a.test,b.test,c.test"], "sasl_service_fqdn", "correct that key"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_wrong_is_named_with_its_remedy(bed, doctor, case):
    settings, words, remedy = CASES[case]
    found, code = doctor(*settings)
    failed = [f for f in found if f["result"] == "fail"]
    assert code == 2
    assert any(words in f["found"] for f in failed), failed
    assert any(remedy in f["found"] + f.get("remedy", "") for f in failed), failed
    assert all(f.get("remedy") for f in failed), failed


def test_servers_and_kdc_in_trouble(bed, doctor):
    first, second = (bed.process(s) for s in bed.strict)
    first.pause()
    try:
        found, code = doctor()
    finally:
        first.resume()
    bed.wait_zookeeper(bed.strict)
    assert code == 2 and NAMES[0] in of(found, "ZooKeeper login", "fail")[0]["found"]
    second.kill()
    try:
        found, code = doctor()
    finally:
        second.start()
    assert code == 2 and "Connection refused" in of(found, "ZooKeeper", "fail")[0]["found"], found
    bed.wait_zookeeper(bed.strict)
    bed.kdc_down()
    try:
        found, code = doctor()
    finally:
        bed.kdc_up()
    assert code == 2 and all("Cannot contact any KDC" in f["found"] for f in of(found, "ZooKeeper login"))
    bed.kdc_delay(2.2)
    try:
        found, code = doctor()
    finally:
        bed.kdc_up()
    assert code == 1 and of(found, "KDC", "warn"), found


def test_an_open_tree_is_warned_of(bed, doctor):
    """Nobody has led under this root yet with an access list."""
    meta = Meta(bed.folder, "open", "%s:%d" % (NAMES[0], bed.strict[0].port), [GSSAPI, "zookeeper.acl_mode=open"],
                kerberos(bed, bed.daemons, hosts=HOSTS), root="/markab/open")
    try:
        meta.wait_leads()
    finally:
        meta.stop()
    found, code = doctor("meta_server.cluster_root=/markab/open")
    assert code == 1 and "world:anyone" in of(found, "ZooKeeper access", "warn")[0]["found"]


def test_passwords_good_and_bad(bed, doctor, tmp_path):
    """DIGEST-MD5 (05 §6.5): a meta leads, the doctor says for whom the server takes it; a bad password is a sentence."""
    server = bed.zookeeper((), name="digest", passwords={"markab": "secret"})[0]
    files = {}
    for word in ("secret", "wrong"):
        files[word] = str(tmp_path / word)
        with open(files[word], "w") as out:
            out.write(word + "\n")

    def settings(word):
        return ["zookeeper.hosts_list=127.0.0.1:%d" % server.port, "zookeeper.sasl_mechanisms_type=DIGEST-MD5",
                "zookeeper.sasl_user_name=markab", "zookeeper.sasl_password_file=" + files[word]]
    try:
        for word in ("secret", "wrong"):
            meta = Meta(tmp_path, "meta-" + word, "127.0.0.1:%d" % server.port, settings(word)[1:], {}, root="/markab/digest")
            try:
                if word == "secret":
                    meta.wait_leads()
                else:
                    meta.wait_said(r"the login to .* as markab was refused: .*; correct \[zookeeper\] sasl_user_name")
            finally:
                meta.stop()
        found, code = doctor("security.enable_zookeeper_kerberos=false", *settings("secret"))
        assert code < 2 and "as markab, by DIGEST-MD5, which takes us for sasl:markab" in \
            of(found, "ZooKeeper login", "ok")[0]["found"], found
        found, code = doctor("security.enable_zookeeper_kerberos=false", *settings("wrong"))
        assert code == 2 and "as markab was refused" in of(found, "ZooKeeper login", "fail")[0]["found"], found
    finally:
        bed.process(server).kill()
