"""A small client of the Thrift framing (spec 01 §2 to §5) that owes nothing to the C++ client: what it reads and writes
are the bytes of the specification, so that the cluster's promises are checked from outside.

One object belongs to one thread. Every call has a deadline; until then it asks the meta for the route again and repeats
whatever ended without an answer or with an error that says "not here". A call that ends in Unknown may have taken
effect or not; nothing else may.
"""
import os
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "interop"))
import wire_replay  # noqa: E402

OK, NOT_FOUND, INVALID_ARGUMENT, INCOMPLETE, TRY_AGAIN = 0, 1, 4, 7, 13
# Envelope errors that mean: nothing has happened, ask again (spec 01 §9.3).
RETRIED = {"ERR_INVALID_STATE", "ERR_OBJECT_NOT_FOUND", "ERR_NOT_ENOUGH_MEMBER", "ERR_CAPACITY_EXCEEDED", "ERR_BUSY",
           "ERR_INACTIVE_STATE", "ERR_SPLITTING"}
RETRY_SECONDS = 0.005
POLYNOMIAL = 0x9A6C9329AC4BC9B5
QUERY_CFG = "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX"


class Refused(Exception):
    """An error answer that is final: nothing has happened."""


class Unknown(Exception):
    """The deadline has passed and at least one attempt may have taken effect."""


class NoRoute(Exception):
    """The deadline has passed without any attempt that could have taken effect."""


def _table():
    out = []
    for i in range(256):
        c = i
        for _ in range(8):
            c = (c >> 1) ^ POLYNOMIAL if c & 1 else c >> 1
        out.append(c)
    return out


CRC = _table()


def crc64(data):
    c = 0xFFFFFFFFFFFFFFFF
    for byte in data:
        c = CRC[(c ^ byte) & 0xFF] ^ (c >> 8)
    return c ^ 0xFFFFFFFFFFFFFFFF


def raw_key(hash_key, sort_key):
    return struct.pack(">H", len(hash_key)) + hash_key + sort_key


def key_hash(hash_key, sort_key=b""):
    return crc64(hash_key if hash_key else sort_key)


# ---- frames --------------------------------------------------------------------------------------------------
def message(rpc, seqid, argument, declared_type=12):
    """The body: strict message header and the wrapped argument (spec 01 §4)."""
    name = rpc.encode()
    return (struct.pack(">Ii", 0x80010001, len(name)) + name + struct.pack(">ibh", seqid, declared_type, 1) + argument
            + b"\0")


def frame(body, app=0, partition=0, timeout=0, hash_value=0):
    """Header version 0 (spec 01 §2)."""
    thread_hash = (app * 7919 + partition) & 0x7FFFFFFF if app > 0 else 0
    return b"THFT" + struct.pack(">IIIIIiiiiQ", 0, 48, 0, len(body), 0, app, partition, timeout, thread_hash,
                                 hash_value) + body


def fields(value):
    """A decoded struct as {field id: value}."""
    return {f[0]: f[2] for f in value}


class Connection:
    """One TCP connection, one request at a time."""

    def __init__(self, address, timeout=1.0):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.address = address

    def close(self):
        self.socket.close()

    def read(self, n):
        out = b""
        while len(out) < n:
            part = self.socket.recv(n - len(out))
            if not part:
                raise ConnectionError("%s closed the connection" % self.address)
            out += part
        return out

    def read_frame(self):
        head = self.read(4)
        length = struct.unpack(">i", head)[0]
        if length < 4:
            raise ValueError("a reply of declared length %d" % length)
        return head + self.read(length - 4)

    def call(self, data, timeout):
        self.socket.settimeout(max(0.001, timeout))
        self.socket.sendall(data)
        return wire_replay.Response(self.read_frame())


class Table:
    """A handle on one table. `log`, if given, is called with a line for every attempt that failed."""

    def __init__(self, metas, name, log=None, attempt_seconds=1.0):
        self.metas, self.name, self.log = list(metas), name, log or (lambda line: None)
        self.attempt_seconds = attempt_seconds
        self.connections = {}
        self.seqid = 0
        self.timed_out_attempts = 0  # requests that a living server may still carry out after we gave them up
        self.app = self.count = 0
        self.primaries = {}   # partition -> address, missing when it has none
        self.members = {}     # partition -> [primary, secondaries...]
        self.ballots = {}

    def close(self):
        for c in self.connections.values():
            c.close()
        self.connections = {}

    # ---- routing ---------------------------------------------------------------------------------------------
    def refresh(self, timeout=1.0):
        """Asks the metas in turn. Raises Refused for a table that does not exist, OSError when none can be asked."""
        last = OSError("no meta is known")
        for meta in list(self.metas):
            try:
                answer = self._ask_meta(meta, timeout)
            except (OSError, ValueError) as e:
                self._drop(meta)
                last = e
                continue
            err = answer.field(1)
            if answer.error != "ERR_OK" or err in (b"ERR_SERVICE_NOT_ACTIVE", b"ERR_BUSY_CREATING", b"ERR_UNDER_RECOVERY"):
                last = OSError("%s says %s" % (meta, answer.error if answer.error != "ERR_OK" else err.decode()))
                continue
            if err == b"ERR_FORWARD_TO_OTHERS":
                last = OSError("%s does not lead" % meta)
                continue
            if err != b"ERR_OK":
                raise Refused(err.decode())
            self._take(answer)
            return
        raise last

    def _ask_meta(self, meta, timeout):
        self.seqid += 1
        argument = wire_replay.write_struct("query_cfg_request", [[1, 11, self.name.encode()], [2, 15, [8]]])
        return self._connection(meta).call(frame(message(QUERY_CFG, self.seqid, argument)), timeout)

    def _take(self, answer):
        self.app, self.count = answer.field(2), answer.field(3)
        self.primaries, self.members, self.ballots = {}, {}, {}
        for partition in answer.field(5)[1:]:
            f = fields(partition)
            index = (f[1] >> 32) & 0xFFFFFFFF
            self.ballots[index] = f[2]
            if f[4] != 0:
                self.primaries[index] = wire_replay.address(f[4])
                self.members[index] = [wire_replay.address(a) for a in [f[4]] + f[5][1:]]

    def _connection(self, address):
        if address not in self.connections:
            self.connections[address] = Connection(address)
        return self.connections[address]

    def _drop(self, address):
        connection = self.connections.pop(address, None)
        if connection is not None:
            connection.close()

    # ---- one call --------------------------------------------------------------------------------------------
    def call(self, operation, argument, hash_value, deadline, partition=None):
        """The decoded result of RPC_RRDB_RRDB_<operation> as {field id: value}. `deadline` is a monotonic time."""
        rpc = "RPC_RRDB_RRDB_" + operation
        maybe_done = False
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise (Unknown if maybe_done else NoRoute)("%s of partition %s" % (operation, partition))
            try:
                if not self.count:
                    self.refresh(min(left, self.attempt_seconds))
                index = hash_value % self.count if partition is None else partition
                address = self.primaries.get(index)
                if address is None:
                    raise OSError("partition %d has no primary" % index)
                connection = self._connection(address)
            except (OSError, ValueError) as e:
                self.log("no way: %s" % e)
                self._again(deadline)
                continue
            self.seqid += 1
            data = frame(message(rpc, self.seqid, argument), self.app, index, int(left * 1000), hash_value)
            try:
                answer = connection.call(data, min(left, self.attempt_seconds))
            except (OSError, ValueError) as e:
                # Sent, or partly: whether it took effect is not known.
                maybe_done = True
                self.timed_out_attempts += isinstance(e, socket.timeout)
                self.log("%s at %s: %s" % (operation, address, e))
                self._drop(address)
                self._again(deadline)
                continue
            if answer.seqid != self.seqid or answer.name != rpc + "_ACK":
                raise AssertionError("the answer to %s #%d is %s #%d" % (rpc, self.seqid, answer.name, answer.seqid))
            if answer.error == "ERR_OK":
                return fields(answer.value)
            self.log("%s at %s: %s" % (operation, address, answer.error))
            if answer.error not in RETRIED:
                # ERR_TIMEOUT and ERR_UNKNOWN leave open whether it took effect.
                if answer.error in ("ERR_TIMEOUT", "ERR_UNKNOWN"):
                    maybe_done = True
                else:
                    raise Refused(answer.error)
            self._again(deadline)

    def _again(self, deadline):
        time.sleep(RETRY_SECONDS)
        self.count = 0
        self.primaries = {}
        try:
            left = deadline - time.monotonic()
            if left > 0:
                self.refresh(min(left, self.attempt_seconds))
        except OSError as e:
            self.log("refresh: %s" % e)

    # ---- operations ------------------------------------------------------------------------------------------
    # Each takes the seconds that it may last and returns what the specification's response holds.
    def put(self, hash_key, sort_key, value, expire=0, seconds=5.0):
        argument = wire_replay.write_struct("update_request", [[1, 12, raw_key(hash_key, sort_key)], [2, 12, value],
                                                               [3, 8, expire]])
        self._point("PUT", argument, hash_key, sort_key, seconds, {OK})

    def get(self, hash_key, sort_key, seconds=5.0):
        """The value, None when there is none."""
        result = self._point("GET", wire_replay.write("blob", raw_key(hash_key, sort_key)), hash_key, sort_key, seconds,
                             {OK, NOT_FOUND})
        return result[2] if result[1] == OK else None

    def remove(self, hash_key, sort_key, seconds=5.0):
        self._point("REMOVE", wire_replay.write("blob", raw_key(hash_key, sort_key)), hash_key, sort_key, seconds, {OK})

    def incr(self, hash_key, sort_key, increment, seconds=5.0):
        argument = wire_replay.write_struct("incr_request", [[1, 12, raw_key(hash_key, sort_key)], [2, 10, increment],
                                                             [3, 8, 0]])
        return self._point("INCR", argument, hash_key, sort_key, seconds, {OK})[2]

    def multi_put(self, hash_key, values, seconds=5.0):
        rows = [[[1, 12, k], [2, 12, v]] for k, v in values.items()]
        argument = wire_replay.write_struct("multi_put_request", [[1, 12, hash_key], [2, 15, [12] + rows], [3, 8, 0]])
        self._point("MULTI_PUT", argument, hash_key, b"", seconds, {OK})

    def multi_get(self, hash_key, seconds=5.0):
        """All of a hash key's records as a dict (the server's limit is 3000)."""
        argument = wire_replay.write_struct("multi_get_request", [
            [1, 12, hash_key], [2, 15, [12]], [3, 8, 0], [4, 8, 0], [5, 2, 0], [6, 12, b""], [7, 12, b""], [8, 2, 1],
            [9, 2, 0], [10, 8, 0], [11, 12, b""], [12, 2, 0]])
        result = self._point("MULTI_GET", argument, hash_key, b"", seconds, {OK})
        return {fields(kv)[1]: fields(kv)[2] for kv in result[2][1:]}

    def _point(self, operation, argument, hash_key, sort_key, seconds, expected):
        result = self.call(operation, argument, key_hash(hash_key, sort_key), time.monotonic() + seconds)
        assert result[1] in expected, "%s of %r %r: error %d" % (operation, hash_key, sort_key, result[1])
        return result


def key_in_partition(partition, count, prefix="key"):
    """A hash key that belongs to a partition."""
    n = 0
    while True:
        key = ("%s_%d" % (prefix, n)).encode()
        if key_hash(key) % count == partition:
            return key
        n += 1
