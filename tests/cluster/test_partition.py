"""Links that were cut for long: a connection whose bytes were lost is given up and dialled anew. TCP alone would try again
later and later, the next time as long after the links are whole as they were cut.

Budget: 50 s.
"""
import os
import re
import sys
import time

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "chaos"))
import netbox  # noqa: E402
from onebox import BIN, wait_until  # noqa: E402

CUT_SECONDS = 30
BACK_WITHIN = 8     # seconds: connecting (2 s at most before the next try), a beacon, learning what was missed


@pytest.fixture
def box(tmp_path):
    missing = netbox.unavailable()
    if missing:
        pytest.skip(missing)
    box = netbox.NetBox(tmp_path, BIN)
    yield box
    box.close()


def test_links_that_were_cut_for_long_are_used_again_at_once(box, record_property):
    def created():
        try:
            box.shell("create cut -p 4 -r 3")
            return True
        except RuntimeError:
            return False
    wait_until(30, created, 0.3)
    box.shell("wait_healthy cut -t 30")
    node = box.replicas[1]
    others = [box.meta, *(n for n in box.replicas if n is not node)]
    for other in others:
        box.cut(node, other)
    time.sleep(CUT_SECONDS)  # what is tested: how long it was
    box.heal()
    healed = time.monotonic()
    wait_until(60, lambda: re.search(re.escape(node.address) + r"\s+ALIVE", box.shell("nodes")) is not None, 0.1)
    record_property("alive after, s", round(time.monotonic() - healed, 2))
    box.shell("wait_healthy cut -t 60", timeout=90)
    took = time.monotonic() - healed
    record_property("whole again after, s", round(took, 2))
    assert took < BACK_WITHIN
