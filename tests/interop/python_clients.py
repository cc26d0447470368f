"""Unmodified Python clients from PyPI, each installed once under build/clients, and the interpreter that runs them."""
import glob
import os
import shutil
import subprocess
import sys

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CLIENTS = os.path.join(REPOSITORY, "build", "clients")
INSTALL_SECONDS = 600


class Unavailable(Exception):
    """Why a client cannot be had on this machine."""


class Client:
    """How to start a Python that has the client."""

    def __init__(self, interpreter, environment):
        self.interpreter = interpreter
        self.environment = dict(os.environ, **environment)

    def can_import(self, folder):
        done = subprocess.run([self.interpreter, "-c", "import pypegasus.pgclient"], env=self.environment, cwd=folder,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        return done.returncode == 0


def _run(command, environment=None):
    print("+ " + " ".join(command), file=sys.stderr, flush=True)
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=INSTALL_SECONDS)
    if done.returncode != 0:
        raise Unavailable("%s failed: %s" % (" ".join(command[:6]), " ".join(done.stdout.split("\n")[-3:])))


def python3(folder):
    """pypegasus3 0.0.1.1 (with Twisted 21.2.0, thrift 0.13.0, cryptography 3.2) in a venv."""
    venv = os.path.join(CLIENTS, "python3")
    client = Client(os.path.join(venv, "bin", "python"), {})
    if not (os.path.exists(client.interpreter) and client.can_import(folder)):
        if sys.version_info >= (3, 13):
            raise Unavailable("pypegasus3 imports on Python 3.8 to 3.12; this is %d.%d" % sys.version_info[:2])
        _run([sys.executable, "-m", "venv", "--clear", venv])
        _run([client.interpreter, "-m", "pip", "install", "--disable-pip-version-check", "pypegasus3==0.0.1.1"])
        if not client.can_import(folder):
            raise Unavailable("pypegasus3 is installed in %s, but cannot be imported" % venv)
    return client


def python2(folder):
    """pypegasus 0.1.17 for a Python 2.7, where there is one. Its own set-up fails unless some of what it needs is there."""
    base = os.path.join(CLIENTS, "python2")
    found = [p for p in [shutil.which("python2.7")] + sorted(glob.glob(os.path.expanduser(
        "~/.pyenv/versions/2.7*/bin/python2.7"))) if p and subprocess.run(
            [p, "-m", "pip", "--version"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0]
    if not found:
        raise Unavailable("no Python 2.7 with pip on this machine (Debian 12 has none)")
    client = Client(found[0], {"PYTHONUSERBASE": base, "PYTHONWARNINGS": "ignore"})
    if not client.can_import(folder):
        shutil.rmtree(base, ignore_errors=True)
        install = [found[0], "-m", "pip", "install", "--user", "--disable-pip-version-check"]
        _run(install + ["typing", "incremental==21.3.0", "zope.interface==5.5.2"], client.environment)
        _run(install + ["pypegasus==0.1.17"], client.environment)
        if not client.can_import(folder):
            raise Unavailable("pypegasus is installed in %s, but cannot be imported" % base)
    return client
