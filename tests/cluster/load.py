"""Load on a table, and the bookkeeping that tells afterwards whether an acknowledged write was lost.

Each worker is a thread with a client and keys of its own, so that the writes of a key have one author and an order. The
value of write n of a key is its number; a read is right when it gives the last acknowledged number, or one whose outcome
nobody told us.
"""
import threading
import time

import wire_client

OPERATION_SECONDS = 5.0


class KeyHistory:
    def __init__(self, key):
        self.key = key
        self.next = 1
        self.acknowledged = 0   # 0: nothing
        self.undecided = set()  # later than the acknowledged one: may be there or not
        self.late = set()       # given up while its server lived, so that it may take effect at any later time

    def allows(self, number):
        return number == self.acknowledged or number in self.undecided or number in self.late

    def __repr__(self):
        return "%s: acknowledged %d, undecided %s, possibly late %s" % (
            self.key.decode(), self.acknowledged, sorted(self.undecided), sorted(self.late))


class Worker(threading.Thread):
    def __init__(self, metas, table, keys, seconds, attempt_seconds):
        super().__init__(daemon=True)
        self.client = wire_client.Table(metas, table, self._note, attempt_seconds)
        self.histories = [KeyHistory(k) for k in keys]
        self.seconds = seconds
        self.stopping = threading.Event()
        self.successes = []    # (kind, start, end), monotonic seconds
        self.errors = []       # operations that the caller saw fail: (time, kind, what)
        self.wrong_reads = []
        self.attempts_failed = []
        self.crash = None

    def _note(self, line):
        if len(self.attempts_failed) < 1000:
            self.attempts_failed.append((time.monotonic(), line))

    def run(self):
        turn = 0
        try:
            while not self.stopping.is_set():
                history = self.histories[turn % len(self.histories)]
                turn += 1
                self._timed("write", lambda: self._write(history))
                self._timed("read", lambda: self._read(history))
        except Exception as e:  # noqa: reported by Load.stop
            self.crash = e
        finally:
            self.client.close()

    def _timed(self, kind, operation):
        start = time.monotonic()
        try:
            operation()
            self.successes.append((kind, start, time.monotonic()))
        except (wire_client.Refused, wire_client.Unknown, wire_client.NoRoute) as e:
            self.errors.append((start, kind, "%s: %s" % (type(e).__name__, e)))
            time.sleep(0.01)

    def _write(self, history):
        number, history.next = history.next, history.next + 1
        timed_out = self.client.timed_out_attempts
        try:
            self.client.put(history.key, b"n", b"%d" % number, seconds=self.seconds)
            history.acknowledged, history.undecided = number, set()
        except wire_client.Unknown:
            history.undecided.add(number)
            raise
        finally:
            if self.client.timed_out_attempts != timed_out:
                history.late.add(number)

    def _read(self, history):
        self._check(history, self.client.get(history.key, b"n", seconds=self.seconds))

    def _check(self, history, value):
        number = int(value) if value is not None else 0
        if not history.allows(number):
            self.wrong_reads.append("read %d, but %r" % (number, history))


class Load:
    """`with Load(box, "temp") as load:` runs until the block ends; then call verify()."""

    def __init__(self, box, table, workers=8, keys_per_worker=8, seconds=OPERATION_SECONDS, attempt_seconds=1.0,
                 by_partition=False, prefix="load"):
        self.box, self.table = box, table
        self.workers = []
        for w in range(workers):
            if by_partition:  # worker w writes to partition w only; there are as many as partitions
                keys = [wire_client.key_in_partition(w, workers, "%s%d_%d" % (prefix, w, k))
                        for k in range(keys_per_worker)]
            else:
                keys = [b"%s%d_%d" % (prefix.encode(), w, k) for k in range(keys_per_worker)]
            self.workers.append(Worker(box.metas, table, keys, seconds, attempt_seconds))

    def __enter__(self):
        for w in self.workers:
            w.start()
        # Under way once every worker has come around.
        end = time.monotonic() + 10
        while not all(len(w.successes) >= 2 for w in self.workers):
            self._raise_crashes()
            assert time.monotonic() < end, "the load does not get going: %s" % [w.errors[:1] for w in self.workers]
            time.sleep(0.005)
        return self

    def __exit__(self, *_):
        for w in self.workers:
            w.stopping.set()
        for w in self.workers:
            w.join(30)
            assert not w.is_alive(), "a client call hangs beyond its deadline"
        self._raise_crashes()

    def _raise_crashes(self):
        for w in self.workers:
            if w.crash is not None:
                raise w.crash

    # ---- what came out ---------------------------------------------------------------------------------------
    def errors(self):
        return [e for w in self.workers for e in w.errors]

    def wrong_reads(self):
        return [r for w in self.workers for r in w.wrong_reads]

    def operations(self):
        return sum(len(w.successes) for w in self.workers)

    def acknowledged_writes(self):
        return sum(1 for w in self.workers for kind, _, _ in w.successes if kind == "write")

    def longest(self, since=0.0):
        """Seconds of the slowest operation that ended after `since`."""
        return max((end - start for w in self.workers for _, start, end in w.successes if end >= since), default=0.0)

    def gap(self, worker, kind, since):
        """The longest time without a finished operation of a kind, from `since` on."""
        ends = [end for k, _, end in self.workers[worker].successes if k == kind and end >= since]
        return max((b - a for a, b in zip([since] + ends, ends)), default=float("inf"))

    def verify(self, seconds=20.0):
        """Reads every key with a new client; returns what is wrong, a line each. Call it when no worker writes."""
        client = wire_client.Table(self.box.metas, self.table)
        wrong = self.wrong_reads()
        for worker in self.workers:
            for history in worker.histories:
                value = client.get(history.key, b"n", seconds=seconds)
                number = int(value) if value is not None else 0
                if not history.allows(number):
                    wrong.append("found %d, but %r" % (number, history))
        client.close()
        return wrong
