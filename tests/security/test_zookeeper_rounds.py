"""Rounds of trouble on real daemons and a real ensemble of three: no table is lost, no ballot goes back, all is well at
the end of each round.

MARKAB_ZOOKEEPER_ROUNDS=50 says how many (CI: 3, in about 50 s with the case about the quorum); MARKAB_ZOOKEEPER_SEED
draws others. Every kind of trouble has its turn before one comes again.
"""
import os
import random
import signal
import time

import pytest
from testbed import Testbed, wait_until
from zookeeper_cluster import NAMES, ZooKeeperCluster

ROUNDS = int(os.environ.get("MARKAB_ZOOKEEPER_ROUNDS", "3"))
SEED = int(os.environ.get("MARKAB_ZOOKEEPER_SEED", "1"))
LONG = ROUNDS >= 50  # by hand: with the minute without ZooKeeper
SESSION_SECONDS = 4.0
HEALTHY_SECONDS = 60  # a bound for a busy machine; what it took is printed
MAX_TABLES = 4


class Rounds:
    def __init__(self, cluster, bed, servers):
        self.cluster, self.bed, self.servers = cluster, bed, servers
        self.random = random.Random(SEED)
        self.kinds = []
        self.expected = {"temp"}  # tables that were acknowledged, and not dropped since
        self.unsure = set()       # asked for without an answer
        self.ballots = {}
        self.rows = []
        self.overlaps = 0
        self.report = []

    def processes(self):
        return [self.bed.process(s) for s in self.servers]

    def nap(self, low, high):
        """The fault's length, not a synchronisation: who leads is looked at all the while."""
        end = time.monotonic() + self.random.uniform(low, high)
        while time.monotonic() < end:
            self.look()
            time.sleep(0.02)

    def look(self):
        leaders = self.cluster.leaders()
        if len(leaders) > 1:  # asked one after the other: it may have changed between the questions
            leaders = [m for m in leaders if m in self.cluster.leaders()]
            self.overlaps += len(leaders) > 1
            assert len(leaders) <= 1, "two leaders: %s" % leaders

    # ---- kinds of trouble --------------------------------------------------------------------------------------
    def leader_is_killed(self):
        leader = self.cluster.wait_leader()
        self.cluster.daemons[leader].kill()
        self.nap(0.1, 6)
        self.cluster.daemons[leader].start()

    def leader_is_asked_to_stop(self):
        leader = self.cluster.wait_leader()
        self.cluster.daemons[leader].stop()
        self.nap(0.1, 2)
        self.cluster.daemons[leader].start()

    def leader_sleeps(self):
        leader = self.cluster.wait_leader()
        self.cluster.daemons[leader].pause()
        self.nap(1, 9)
        self.cluster.daemons[leader].resume()

    def leader_is_cut_off(self):
        """Its session expires while it runs and serves."""
        leader = self.cluster.wait_leader()
        self.cluster.cut(leader)
        self.nap(SESSION_SECONDS - 2, SESSION_SECONDS + 5)
        self.cluster.heal()

    def all_connections_break(self):
        for _ in range(3):
            self.cluster.drop_connections()
            self.nap(0.1, 1.5)

    def a_server_is_killed(self):
        process = self.random.choice(self.processes())
        process.kill()
        self.nap(0.5, 5)
        process.start()

    def all_servers_restart_in_turn(self):
        for process in self.processes():
            process.kill()
            self.nap(0.2, 1)
            process.start()
            self.bed.wait_zookeeper(self.servers)

    def the_ensemble_has_no_quorum(self):
        victims = self.random.sample(self.processes(), 2)
        for process in victims:
            process.kill()
        self.nap(2, 9)
        for process in victims:
            process.start()

    def the_ensemble_is_away(self):
        for process in self.processes():
            process.pause()
        self.nap(60, 61) if LONG and self.random.random() < 0.5 else self.nap(3, 12)
        for process in self.processes():
            process.resume()

    def two_metas_and_a_replica_are_killed(self):
        victims = [self.cluster.wait_leader(), self.random.choice(self.cluster.replicas)]
        victims.append(self.random.choice([m for m in self.cluster.metas if m not in victims]))
        for name in victims:
            self.cluster.daemons[name].send(signal.SIGKILL)
        for name in victims:
            self.cluster.daemons[name].kill()
        self.nap(0.1, 3)
        for name in victims:
            self.cluster.daemons[name].start()

    KINDS = [leader_is_cut_off, the_ensemble_is_away, two_metas_and_a_replica_are_killed,  # CI's
             leader_is_killed, leader_sleeps, the_ensemble_has_no_quorum, a_server_is_killed, leader_is_asked_to_stop,
             all_servers_restart_in_turn, all_connections_break]

    # ---- a round -----------------------------------------------------------------------------------------------
    def change_tables(self, number):
        """One table comes or goes, shortly before the trouble; what was acknowledged must hold."""
        name = "r%d" % number
        extra = sorted(self.expected - {"temp"})
        if len(extra) >= MAX_TABLES:
            self.expected.discard(extra[0])
            self.unsure.add(extra[0])
            if self.cluster.try_shell("drop %s" % extra[0]).returncode == 0:
                self.unsure.discard(extra[0])
        self.unsure.add(name)
        if self.cluster.try_shell("create %s -p 2 -r 3" % name).returncode == 0:
            self.unsure.discard(name)
            self.expected.add(name)

    def judge(self):
        tables = self.cluster.tables()
        missing = self.expected - tables
        assert not missing, "tables are lost: %s" % missing
        assert not tables - self.expected - self.unsure, "dropped tables are back: %s" % (tables - self.expected)
        now = self.cluster.ballots()
        for at, ballot in self.ballots.items():
            if at[0] in tables:
                assert now.get(at, -1) >= ballot, "the ballot of %s went back from %s to %s" % (at, ballot, now.get(at))
        self.ballots.update(now)

    def run(self, number):
        if not self.kinds:
            self.kinds = list(self.KINDS[:ROUNDS] if ROUNDS < len(self.KINDS) else self.KINDS)
            self.random.shuffle(self.kinds)
        kind = self.kinds.pop()
        self.change_tables(number)
        self.judge()
        began = time.monotonic()
        kind(self)
        lasted, ended = time.monotonic() - began, time.monotonic()
        self.bed.wait_zookeeper(self.servers)
        self.cluster.wait_leader()
        led = time.monotonic() - ended
        self.judge()
        self.cluster.wait_healthy(HEALTHY_SECONDS)
        well = time.monotonic() - ended
        row = "round%d" % number
        wait_until(30, lambda: self.cluster.try_shell("use temp; set %s s v%d" % (row, number)).returncode == 0, 0.2)
        self.rows.append((row, "v%d" % number))
        line = "round %d: %s for %.1f s; a meta leads %.1f s later, all is healthy %.1f s later" % (
            number, kind.__name__.replace("_", " "), lasted, led, well)
        self.report.append((lasted, led, well))
        print(line, flush=True)

    def finish(self):
        for row, value in self.rows:
            assert value in self.cluster.shell("use temp; get %s s" % row)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rounds")
    bed = Testbed(folder / "bed")
    bed.add("pegasus/localhost")
    keytab = bed.keytab("pegasus/localhost")
    servers = bed.zookeeper(["zookeeper/" + n for n in NAMES])
    cluster = ZooKeeperCluster(bed, servers, folder / "cluster", keytab=keytab)
    try:
        cluster.start()
        wait_until(30, lambda: cluster.try_shell("create temp -p 8 -r 3").returncode == 0, 0.2)
        cluster.wait_healthy()
        yield cluster
    finally:
        cluster.stop()
        bed.close()


def test_an_ensemble_without_quorum_has_no_leader_and_costs_no_daemon(cluster, record_property):
    """The leader stops by itself in time, nobody else begins; with the quorum it all comes back."""
    pids = {n: d.pid for n, d in cluster.daemons.items()}
    tables, ballots = cluster.tables(), cluster.ballots()
    victims = [cluster.bed.process(s) for s in cluster.servers[:2]]
    for process in victims:
        process.kill()
    began = time.monotonic()
    wait_until(SESSION_SECONDS + 3, lambda: not cluster.leaders(), 0.05)
    record_property("the leader stops after the quorum is lost, s", round(time.monotonic() - began, 2))
    while time.monotonic() < began + SESSION_SECONDS + 4:  # longer than any lease: nobody may lead
        assert not cluster.leaders()
        time.sleep(0.05)
    for process in victims:
        process.start()
    cluster.bed.wait_zookeeper(cluster.servers)
    began = time.monotonic()
    cluster.wait_leader(30)
    record_property("a meta leads after the quorum's return, s", round(time.monotonic() - began, 2))
    cluster.wait_healthy(HEALTHY_SECONDS)
    assert cluster.tables() == tables
    assert all(cluster.ballots()[at] >= ballot for at, ballot in ballots.items())
    assert pids == {n: d.pid for n, d in cluster.daemons.items()}
    cluster.shell("use temp; set quorum s v; get quorum s")


def test_rounds(cluster, record_property, capsys):
    began = time.monotonic()
    rounds = Rounds(cluster, cluster.bed, cluster.servers)
    with capsys.disabled():
        print()
        for number in range(1, ROUNDS + 1):
            rounds.run(number)
    rounds.finish()
    for daemon in cluster.daemons.values():
        assert "assertion" not in daemon.said().lower(), daemon.name
    well = sorted(w for _, _, w in rounds.report)
    record_property("rounds", "%d in %.0f s; %d ballots watched, %d tables at the end; healthy after %.1f s in the "
                    "median, %.1f s at most" % (ROUNDS, time.monotonic() - began, len(rounds.ballots),
                                                len(rounds.expected), well[len(well) // 2], well[-1]))
