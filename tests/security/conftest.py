"""Oneboxes and testbeds for this folder; what a case measured is printed with its result."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from onebox import Box, free_port_base  # noqa: E402
from testbed import Testbed  # noqa: E402


@pytest.fixture
def onebox(tmp_path_factory):
    """A function that starts one with the given arguments of scripts/onebox start, for this case alone."""
    made = []

    def start(*arguments, **sizes):
        made.append(Box(tmp_path_factory.mktemp("own"), free_port_base(), *arguments, **sizes))
        return made[-1]
    yield start
    for it in made:
        it.run("stop")


@pytest.fixture
def testbed(tmp_path_factory):
    made = []

    def start(**options):
        made.append(Testbed(tmp_path_factory.mktemp("bed"), **options))
        return made[-1]
    yield start
    for it in made:
        it.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        for name, value in item.user_properties:
            print("\n    %s: %s" % (name, value))
