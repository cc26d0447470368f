"""What stops a daemon from starting: one sentence on standard error that names cause and remedy, exit code 1."""
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

from onebox import BIN, REPOSITORY

sys.path.insert(0, os.path.join(REPOSITORY, "scripts"))
from onebox_layout import Onebox  # noqa: E402

PORT_BASE = 51000
PROGRAMS = ["meta", "replica"]


@pytest.fixture
def layout(tmp_path):
    it = Onebox(str(tmp_path), BIN, 1, 1, PORT_BASE, [])
    it.write_configs()
    return it


def daemon(layout, kind):
    return (layout.metas if kind == "meta" else layout.replicas)[0]


def start(layout, kind, *arguments, **more):
    return subprocess.run([layout.program(kind), "--config", daemon(layout, kind).config, *arguments],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, **more)


def add_to_config(layout, kind, text):
    """Appends lines; returns the number of the last one."""
    with open(daemon(layout, kind).config, "a") as out:
        out.write(text)
    with open(daemon(layout, kind).config) as back:
        return len(back.read().splitlines())


def assert_one_sentence(run, *words):
    assert run.returncode == 1, "exit code %d: %s" % (run.returncode, run.stderr)
    lines = [line for line in run.stderr.splitlines() if line.strip()]
    assert len(lines) == 1, "more than a sentence:\n" + run.stderr
    for word in words:
        assert word in lines[0], "%r is not said: %s" % (word, lines[0])


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_launchers_files_are_right(layout, kind):
    run = start(layout, kind, "--check-config")
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("kind", PROGRAMS)
def test_the_example_files_are_right(kind):
    path = os.path.join(REPOSITORY, "config", "markab-%s.ini" % kind)
    run = subprocess.run([os.path.join(BIN, "markab-" + kind), "--config", path, "--check-config"],
                         stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help(layout, kind, option):
    run = subprocess.run([layout.program(kind), option], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=20)
    assert run.returncode == 0
    assert re.search(r"\d+\.\d+\.\d+", run.stdout) if option == "--version" else "--config" in run.stdout


@pytest.mark.parametrize("kind", PROGRAMS)
def test_unknown_key(layout, kind):
    line = add_to_config(layout, kind, "log_snyc = always\n")
    run = start(layout, kind, "--check-config")
    assert_one_sentence(run, "markab.ini:%d" % line, "log_snyc")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_unknown_section(layout, kind):
    line = add_to_config(layout, kind, "[replicatoin]\nlog_sync = always\n")
    run = start(layout, kind)
    assert run.returncode == 1 and re.search(r"markab\.ini:(%d|%d)" % (line, line - 1), run.stderr), run.stderr


@pytest.mark.parametrize("kind", PROGRAMS)
@pytest.mark.parametrize("setting,words", [
    ("network.port=70000", ["port", "65535"]), ("network.port=-1", ["port", "65535"]),
    ("network.port=many", ["port", "many"]), ("network.address=localhost:1", ["address"]),
    ("core.logging_start_level=LOUD", ["logging_start_level", "LOUD"])])
def test_value_out_of_range_on_the_command_line(layout, kind, setting, words):
    assert_one_sentence(start(layout, kind, "--set", setting), *words)


def test_value_out_of_range_in_the_file(layout):
    with open(layout.replicas[0].config) as text:
        lines = text.read().replace("log_sync = interval", "log_sync = sometimes").splitlines()
    with open(layout.replicas[0].config, "w") as out:
        out.write("\n".join(lines) + "\n")
    number = lines.index("log_sync = sometimes") + 1
    assert_one_sentence(start(layout, "replica"), "markab.ini:%d" % number, "log_sync", "sometimes", "always", "interval",
                        "none")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_setting_without_a_value(layout, kind):
    assert start(layout, kind, "--set", "nonsense").returncode == 1


@pytest.mark.parametrize("kind", PROGRAMS)
def test_missing_file(layout, kind):
    os.unlink(daemon(layout, kind).config)
    run = start(layout, kind)
    assert run.returncode == 1 and daemon(layout, kind).config in run.stderr + run.stdout


@pytest.mark.parametrize("kind", PROGRAMS)
def test_port_in_use(layout, kind):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", daemon(layout, kind).port))
        taken.listen()
        run = start(layout, kind)
    assert_one_sentence(run, str(daemon(layout, kind).port), "in use")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_data_directory_that_cannot_be_made(layout, kind):
    """Below a file: root, too, cannot write there."""
    blocker = os.path.join(layout.root, "blocker")
    open(blocker, "w").close()
    setting = ("replication.data_dirs=d:%s/x" if kind == "replica" else "meta_server.state_dir=%s/x") % blocker
    assert_one_sentence(start(layout, kind, "--set", setting), "blocker")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user to become")
@pytest.mark.parametrize("kind", PROGRAMS)
def test_data_directory_that_is_not_writable(layout, kind):
    for folder, _, files in os.walk(layout.root):
        for path in [folder] + [os.path.join(folder, f) for f in files]:
            os.chown(path, 65534, 65534)
    parent = layout.root
    while parent != "/tmp" and parent != "/":
        os.chmod(parent, 0o755)
        parent = os.path.dirname(parent)
    locked = os.path.join(layout.root, "locked")
    os.mkdir(locked, 0o555)
    setting = ("replication.data_dirs=d:%s/x" if kind == "replica" else "meta_server.state_dir=%s/x") % locked
    program = os.path.join(layout.root, "program")
    shutil.copy(layout.program(kind), program)  # where it was built, another user may have no access

    def become_nobody():
        os.setgid(65534)
        os.setuid(65534)
    run = subprocess.run([program, "--config", daemon(layout, kind).config, "--set", setting], stdin=subprocess.DEVNULL,
                         capture_output=True, text=True, timeout=20, preexec_fn=become_nobody, cwd=layout.root)
    assert_one_sentence(run, "locked")


@pytest.mark.parametrize("kind", PROGRAMS)
def test_data_of_another_cluster(layout, kind):
    """Started once as the cluster it belongs to, then as another."""
    command = [layout.program(kind), "--config", daemon(layout, kind).config]
    first = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + 10
    while True:
        assert first.poll() is None, first.stderr.read()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", daemon(layout, kind).port)) == 0:
                break
        assert time.monotonic() < end, "it does not listen"
        time.sleep(0.01)
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 0
    first.stderr.close()
    run = start(layout, kind, "--set", "replication.cluster_name=elsewhere")
    assert_one_sentence(run, "onebox", "elsewhere")
