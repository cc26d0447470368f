"""Oneboxes for the suites of this folder. A case that breaks its cluster on purpose takes one of its own."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from onebox import Box, free_port_base  # noqa: E402


@pytest.fixture(scope="module")
def box(tmp_path_factory):
    """One for all cases of a file; they leave it healthy."""
    it = Box(tmp_path_factory.mktemp("cluster"), free_port_base())
    yield it
    it.stop()


@pytest.fixture
def own_box(tmp_path_factory):
    """A function that starts one with the given --set arguments, for this case alone."""
    made = []

    def start(*arguments, **sizes):
        made.append(Box(tmp_path_factory.mktemp("own"), free_port_base(), *arguments, **sizes))
        return made[-1]
    yield start
    for it in made:
        it.run("stop")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """What a case measured is printed with the result, passed or not: the figures are what is asked for."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call":
        for name, value in item.user_properties:
            print("\n    %s: %s = %s" % (item.name, name, value), file=sys.__stderr__, flush=True)
