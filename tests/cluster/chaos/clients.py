"""Clients of a chaos run: they do operations and write down what they saw, for the judge (judge/main.go).

    clients.py METAS TABLE CLIENTS < commands > history

Each line "round N" on standard input begins a round, with keys of its own; the end of the input ends the run. Every
operation is one attempt: what was refused did not happen and is not written down, what got no answer is unknown. A retry
would be a second operation.
"""
import json
import os
import random
import socket
import sys
import threading
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import wire_client  # noqa: E402

KEYS = 6
ATTEMPT_SECONDS = 1.5
PAUSE_SECONDS = 0.004       # between a client's operations
BYTES_EQUAL = 10            # check type of CHECK_AND_SET
# What a server answers before it has done anything.
REFUSED = wire_client.RETRIED | {"ERR_DISK_INSUFFICIENT"}
write, write_struct = wire_client.wire_replay.write, wire_client.wire_replay.write_struct


class NotDone(Exception):
    """Surely without effect."""


class Unanswered(Exception):
    """With or without effect."""


class Attempts(wire_client.Table):
    def attempt(self, operation, argument, hash_value):
        """The decoded result of one attempt."""
        try:
            if not self.count:
                self.refresh(1.0)
            index = hash_value % self.count
            connection = self._connection(self.primaries[index])
        except (OSError, ValueError, KeyError, wire_client.Refused) as e:
            self.count = 0
            raise NotDone(str(e))
        address, rpc = connection.address, "RPC_RRDB_RRDB_" + operation
        self.seqid += 1
        data = wire_client.frame(wire_client.message(rpc, self.seqid, argument), self.app, index,
                                 int(ATTEMPT_SECONDS * 1000), hash_value)
        try:
            answer = connection.call(data, ATTEMPT_SECONDS)
        except (OSError, ValueError) as e:
            self._drop(address)
            self.count = 0
            raise Unanswered(str(e))
        if answer.error == "ERR_OK":
            return wire_client.fields(answer.value)
        self.count = 0
        if answer.error in REFUSED:
            raise NotDone(answer.error)
        raise Unanswered(answer.error)


class Client(threading.Thread):
    def __init__(self, number, metas, table, board, out):
        super().__init__(daemon=True)
        self.number, self.board, self.out = number, board, out
        self.random = random.Random(number * 7919 + os.getpid())
        self.table = Attempts(metas, table, attempt_seconds=ATTEMPT_SECONDS)
        self.written = 0
        self.crash = None

    def run(self):
        try:
            while not self.board["end"]:
                self.once(self.board["round"])
                time.sleep(PAUSE_SECONDS)
        except Exception as e:  # noqa: reported by main
            self.crash = e

    def once(self, round_number):
        slot = self.random.randrange(KEYS)
        counter = slot == 0
        key = b"r%d_%s%d" % (round_number, b"n" if counter else b"k", slot)
        dice = self.random.random()
        if dice < 0.4:
            self.note(key, "get", "", lambda: self.get(key))
        elif counter:
            self.note(key, "incr", "", lambda: self.incr(key))
        elif dice < 0.75:
            value = self.fresh()
            self.note(key, "put", value, lambda: self.put(key, value))
        else:
            seen = self.note(key, "get", "", lambda: self.get(key))
            if seen:
                value = self.fresh()
                self.note(key, "cas", "%s %s" % (seen, value), lambda: self.cas(key, seen, value))

    def fresh(self):
        self.written += 1
        return "%d.%d" % (self.number, self.written)

    def note(self, key, op, argument, operation):
        entry = {"client": self.number, "key": key.decode(), "op": op, "argument": argument, "result": "",
                 "call": time.monotonic_ns(), "unknown": False}
        try:
            entry["result"] = operation()
        except NotDone:
            time.sleep(0.02)
            return None
        except Unanswered:
            entry["unknown"] = True
        entry["return"] = time.monotonic_ns()
        self.out(entry)
        return None if entry["unknown"] else entry["result"]

    def point(self, operation, argument, key, good):
        result = self.table.attempt(operation, argument, wire_client.key_hash(key))
        assert result[1] in good, "%s of %r: error %d" % (operation, key, result[1])
        return result

    def get(self, key):
        result = self.point("GET", write("blob", wire_client.raw_key(key, b"s")), key,
                            {wire_client.OK, wire_client.NOT_FOUND})
        return result[2].decode() if result[1] == wire_client.OK else ""

    def put(self, key, value):
        self.point("PUT", write_struct("update_request", [[1, 12, wire_client.raw_key(key, b"s")],
                                                          [2, 12, value.encode()], [3, 8, 0]]), key, {wire_client.OK})
        return ""

    def incr(self, key):
        result = self.point("INCR", write_struct("incr_request", [[1, 12, wire_client.raw_key(key, b"s")], [2, 10, 1],
                                                                  [3, 8, 0]]), key, {wire_client.OK})
        return "%d" % result[2]

    def cas(self, key, old, new):
        argument = write_struct("check_and_set_request", [
            [1, 12, key], [2, 12, b"s"], [3, 8, BYTES_EQUAL], [4, 12, old.encode()], [5, 2, 0], [6, 12, b""],
            [7, 12, new.encode()], [8, 8, 0], [9, 2, 0]])
        result = self.point("CHECK_AND_SET", argument, key, {wire_client.OK, wire_client.TRY_AGAIN})
        return "true" if result[1] == wire_client.OK else "false"


def main():
    metas, table, count = sys.argv[1].split(","), sys.argv[2], int(sys.argv[3])
    board, lock = {"round": 0, "end": False}, threading.Lock()

    def out(entry):
        line = json.dumps(entry)
        with lock:
            sys.stdout.write(line + "\n")
    clients = [Client(i, metas, table, board, out) for i in range(count)]
    for client in clients:
        client.start()
    for line in sys.stdin:
        board["round"] = int(line.split()[1])
    board["end"] = True
    for client in clients:
        client.join(20)
    sys.stdout.flush()
    crashes = [c.crash for c in clients if c.crash]
    if crashes:
        raise crashes[0]


if __name__ == "__main__":
    main()
