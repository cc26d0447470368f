"""scripts/onebox start --kerberos: the whole of it on one machine, with and without a ticket."""
import os
import signal
import subprocess
import time

from meta_process import BIN
from testbed import wait_until


def shell(box, command, *arguments, environment=None):
    return subprocess.run([os.path.join(BIN, "markab-shell"), "--meta", ",".join(box.metas), *arguments, "-c", command],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=60, env=dict(os.environ, **(environment or {})))


def test_with_and_without_a_ticket(onebox, record_property):
    began = time.monotonic()
    box = onebox("--kerberos", metas=2)
    record_property("up after, s", round(time.monotonic() - began, 1))
    for words in ("kinit -k -t", "export KRB5_CONFIG="):
        assert words in box.start_output
    done = box.run("shell", "-c", "use temp; set user_1 name Ada; get user_1 name")
    assert done.returncode == 0 and "Ada" in done.stdout, done.stdout

    config = os.path.join(box.dir, "user.ini")
    cache = "FILE:" + os.path.join(box.dir, "ccache")
    environment = dict(KRB5_CONFIG=os.path.join(box.dir, "kdc", "krb5.conf"), KRB5CCNAME=cache)
    without = shell(box, "use temp; get user_1 name", "--config", config, environment=environment)
    assert without.returncode != 0 and "Ada" not in without.stdout, without.stdout
    record_property("without a ticket", without.stdout.strip().splitlines()[-1][:300])
    kinit = next(line for line in box.start_output.splitlines() if "kinit" in line).split()
    subprocess.run(kinit, env=dict(os.environ, **environment), check=True, stdin=subprocess.DEVNULL, timeout=30)
    with_ticket = shell(box, "use temp; get user_1 name", "--config", config, environment=environment)
    assert with_ticket.returncode == 0 and "Ada" in with_ticket.stdout, with_ticket.stdout

    # A leader's end is reported by the supervisor, which has to log in for it as well.
    log = {name: box.log(name) for name in ("meta1", "meta2")}
    first = "meta1" if "leads and serves" in log["meta1"] else "meta2"
    other = "meta2" if first == "meta1" else "meta1"
    began = time.monotonic()
    os.kill(box.pid(first), signal.SIGKILL)
    wait_until(10, lambda: box.log(other).count("leads and serves") > log[other].count("leads and serves"))
    record_property("another meta serves after kill -9, s", round(time.monotonic() - began, 2))
    wait_until(10, lambda: box.run("shell", "-c", "use temp; set user_2 name Eve; get user_2 name").returncode == 0, 0.2)
