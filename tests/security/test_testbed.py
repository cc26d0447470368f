"""The testbed itself: its KDC issues, is slow, swallows and refuses; its ZooKeeper turns away who has no ticket."""
import os
import subprocess
import time

import pytest
from testbed import Testbed, loopback_servers


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    bed = Testbed(tmp_path_factory.mktemp("testbed"))
    bed.add("alice")
    bed.alice = bed.keytab("alice")
    yield bed
    bed.close()


def kinit(bed, keytab, timeout=20):
    return subprocess.run([loopback_servers.program("kinit"), "-k", "-t", keytab, "-c", bed.folder + "/try.ccache",
                           "alice"], env=dict(os.environ, **bed.client_environment()), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)


def test_tickets_are_issued_and_logged(bed):
    assert os.path.getsize(bed.ticket("alice", bed.alice)) > 0
    assert ("AS_REQ", "ISSUE", "alice@MARKAB.TEST", "krbtgt/MARKAB.TEST@MARKAB.TEST") in bed.requests()


def test_a_kdc_that_is_down_or_slow(bed):
    bed.kdc_down()
    down = kinit(bed, bed.alice)
    assert down.returncode != 0 and "Cannot contact any KDC" in down.stdout, down.stdout
    bed.kdc_up()
    bed.kdc_delay(0.3)
    began = time.monotonic()
    slow = kinit(bed, bed.alice)
    bed.kdc_up()
    assert slow.returncode == 0, slow.stdout
    assert time.monotonic() - began >= 0.3


def test_a_kdc_that_swallows_is_cut_off_by_its_return(bed):
    bed.kdc_swallows()
    with pytest.raises(subprocess.TimeoutExpired):
        kinit(bed, bed.alice, timeout=2)
    bed.kdc_up()
    assert kinit(bed, bed.alice).returncode == 0


def test_new_keys_make_an_older_keytab_stale(bed):
    bed.add("rotated")
    old = bed.keytab("rotated", path=bed.folder + "/old.keytab")
    new = bed.keytab("rotated", path=bed.folder + "/new.keytab")
    assert subprocess.run(["kinit", "-k", "-t", old, "-c", bed.folder + "/r", "rotated"], stdin=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, env=dict(os.environ, **bed.client_environment())).returncode != 0
    bed.ticket("rotated", new)


@pytest.mark.parametrize("count", [1, 3])
def test_zookeeper_serves(bed, count):
    principals = ["zookeeper/zk%d" % (i + 1) for i in range(count)]
    servers = bed.zookeeper(principals, name="ensemble%d" % count)
    modes = sorted(line for s in servers for line in s.ask("srvr").splitlines() if line.startswith("Mode"))
    assert modes == (["Mode: standalone"] if count == 1 else ["Mode: follower"] * 2 + ["Mode: leader"])
    for server in servers:
        bed.process(server).stop()
