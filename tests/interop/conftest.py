"""The onebox that all suites of this folder share; each case works on its own table or its own keys."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from onebox import Box, free_port_base  # noqa: E402

PORT_BASE = free_port_base()


@pytest.fixture(scope="session")
def box(tmp_path_factory):
    it = Box(tmp_path_factory.mktemp("interop"), PORT_BASE)
    yield it
    it.stop()
