"""How long a new leader needs for the state of a large cluster: 100,000 partitions."""
import os
import subprocess
import time

import pytest
from meta_process import BIN, Meta
from testbed import wait_until

TABLES, PARTITIONS = 4, 25000  # 100,000 in all
LIMIT_SECONDS = 5.0
BUSY_FACTOR = 4  # what a machine that does other things as well may take; the figure is printed


def test_a_hundred_thousand_partitions(testbed, tmp_path, record_property):
    tool = os.path.join(BIN, "fill_state")
    if not os.access(tool, os.X_OK):
        pytest.skip("%s is not built" % tool)
    bed = testbed()
    server = bed.zookeeper(())[0]
    filled = subprocess.run([tool, server.endpoint, "/markab/large", str(TABLES), str(PARTITIONS)],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=200)
    assert filled.returncode == 0, filled.stdout
    for line in filled.stdout.splitlines():
        if line.startswith(("wrote", "read")):
            record_property("the store", line)
    meta = Meta(tmp_path, "large", server.endpoint, ["meta_server.max_partition_count=65536",
                                                     "markab.allow_any_partition_count=true"], root="/markab/large")
    try:
        meta.wait_said("won the election", 20)
        began = time.monotonic()
        wait_until(LIMIT_SECONDS * BUSY_FACTOR + 5, lambda: "leads and serves" in meta.said(), 0.01)
        took = time.monotonic() - began
        record_property("from the election to serving 100,000 partitions, s", round(took, 2))
        assert took < LIMIT_SECONDS * BUSY_FACTOR
        assert "read 10000" in meta.said()
    finally:
        meta.stop()
