#!/usr/bin/env python3
"""Processor time per operation with and without authentication, by many short runs in turns: python3 -B measure_cost.py.

Two clusters of one replica server stand side by side, one mandatory Kerberos, one without. Each pair of runs gives a
ratio; a machine that is busy for a while changes both of a pair, and the median of the ratios stays. Prints the median
with its 95 % confidence interval (order statistics), which is what the promise of 3 % is judged by.
Arguments: PAIRS (40) and SECONDS per run (2). By hand; the figure is in docs/performance.md.
"""
import json
import os
import subprocess
import sys
import tempfile

from cluster import BIN, Cluster, make_bed
from testbed import wait_until


def cost(config, workload, seconds, connections=8):
    done = subprocess.run([os.path.join(BIN, "markab-bench"), "--config", config, "--workload", workload, "--keys", "2000",
                           "--connections", str(connections), "--seconds", str(seconds), "--warm-up", "0.3", "--json"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["cpu_us_per_op"]["total"]


def interval(ratios):
    """The median and the order statistics around it that hold the true one in 95 of 100 cases."""
    ordered = sorted(ratios)
    n = len(ordered)
    away = int(0.98 * n ** 0.5) + 1
    return ordered[n // 2], ordered[max(0, n // 2 - away)], ordered[min(n - 1, n // 2 + away)]


def main():
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 2
    with tempfile.TemporaryDirectory() as folder:
        bed = make_bed(folder)
        clusters = {"with": Cluster(bed, replicas=1),
                    "without": Cluster(bed, replicas=1, enable_auth="false", mandatory_auth="false")}
        try:
            configs = {}
            for name, cluster in clusters.items():
                user = "ops" if name == "with" else None
                configs[name] = cluster.client_config(user)
                cluster.start_all()
                wait_until(30, lambda c=cluster, u=user: c.try_shell("create temp -p 4 -r 1", user=u).returncode == 0, 0.2)
                cost(configs[name], "fill", 1)
            for workload in ("get", "set"):
                ratios, costs = [], {"with": [], "without": []}
                for i in range(pairs):
                    for name in ("with", "without") if i % 2 == 0 else ("without", "with"):
                        costs[name].append(cost(configs[name], workload, seconds))
                    ratios.append(costs["with"][-1] / costs["without"][-1])
                middle, low, high = interval(ratios)
                print("%s: %d pairs of %.1f s, processor time per operation %.2f us with, %.2f us without (medians); "
                      "ratio %.4f, 95 %% of it in %.4f to %.4f" % (
                          workload, pairs, seconds, sorted(costs["with"])[pairs // 2],
                          sorted(costs["without"])[pairs // 2], middle, low, high), flush=True)
        finally:
            for cluster in clusters.values():
                cluster.stop()
            bed.close()


if __name__ == "__main__":
    main()
