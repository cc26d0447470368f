"""The Python clients that users install from PyPI, unmodified, against real daemons (pegasus_driver.py has the cases)."""
import ast
import json
import os
import subprocess
import threading
import time

import pytest

import python_clients
from onebox import Box, free_port_base

DRIVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pegasus_driver.py")
GROUP_SECONDS = 240


def cases():
    """(group, case) of each function that the driver registers, without importing the client."""
    with open(DRIVER, encoding="utf-8") as text:
        tree = ast.parse(text.read())
    return [(d.args[0].value, f.name) for f in tree.body if isinstance(f, ast.FunctionDef)
            for d in f.decorator_list if isinstance(d, ast.Call) and getattr(d.func, "id", "") == "case"]


class Driver:
    """Runs a group once and keeps what became of each of its cases."""

    def __init__(self, client, folder):
        self.client, self.folder, self.results = client, folder, {}

    def run(self, box, table, group, when_loading=lambda: None):
        process = subprocess.Popen([self.client.interpreter, DRIVER, ",".join(box.metas), table, group],
                                   env=self.client.environment, cwd=self.folder, stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        errors = []
        reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
        reader.start()
        timer = threading.Timer(GROUP_SECONDS, process.kill)
        timer.start()
        try:
            for line in process.stdout:
                said = json.loads(line)
                if "case" in said:
                    self.results[(group, said["case"])] = said
                elif "loading" in said:
                    when_loading()
                else:
                    print(line.strip())
            process.wait()
        finally:
            timer.cancel()
        reader.join()
        self.results[(group, None)] = "exit code %d\n%s" % (process.returncode, errors[0][-2000:])

    def result(self, box, table, group, name):
        if (group, None) not in self.results:
            self.run(box, table, group)
        if (group, name) not in self.results:
            pytest.fail("the driver ended before this case: " + self.results[(group, None)])
        return self.results[(group, name)]


@pytest.fixture(scope="session", params=["python3", "python2"])
def driver(request, box, tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("client"))  # the client writes a log file to where it runs
    try:
        client = getattr(python_clients, request.param)(folder)
    except (python_clients.Unavailable, subprocess.TimeoutExpired, OSError) as why:
        pytest.skip("%s client: %s" % (request.param, why))
    it = Driver(client, folder)
    it.name = request.param
    return it


@pytest.fixture(scope="session")
def tables(box):
    made = set()

    def table(name):
        if name not in made:
            box.create(name)
            made.add(name)
        return name
    return table


@pytest.mark.parametrize("group,name", [c for c in cases() if c[0] != "failover" and not c[0].startswith("env_")])
def test_case(driver, box, tables, group, name):
    table = tables("%s_%s" % (driver.name, group if group == "full_scan" else "data"))
    said = driver.result(box, table, group, name)
    assert said["ok"], said["detail"]


def test_a_replica_is_killed_in_the_middle_of_the_load(driver, tmp_path_factory):
    """The client notices by time-outs and refreshes on a two-second tick; no acknowledged write may be lost."""
    own = Box(tmp_path_factory.mktemp("failover"), free_port_base())
    try:
        def kill_soon():
            time.sleep(2)  # what is killed is a cluster under load, not one that has just been connected to
            own.kill("replica2")
        driver.run(own, "temp", "failover", lambda: threading.Thread(target=kill_soon).start())
        said = driver.result(own, "temp", "failover", "load_while_a_replica_is_killed")
        assert said["ok"], said["detail"]
    finally:
        driver.results = {k: v for k, v in driver.results.items() if k[0] != "failover"}
        own.stop()
