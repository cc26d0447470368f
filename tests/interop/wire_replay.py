#!/usr/bin/env python3
"""Replays recorded client conversations against a running cluster and compares the answers.

    wire_replay.py --meta HOST:PORT --table NAME [--verbose] FILE.jsonl.gz...

The table must be empty and must have as many partitions as the recorded one (8); the format of the files is described in
tests/data/wire/README.md. Exchanges are played one after another; pauses that the client made (0.5 s or more) are kept.
What must differ is exchanged on the way: application id, scan contexts (any id but 0 and -1 is a live one), absolute
expiry times, which are moved by the time that has passed since the recording. Everything else is compared field by
field, also which fields are present, but for: application id, decree, ballot, the answering server, the addresses in a
routing answer; times to live within 2 s; host_port fields, which Pegasus' master sends over this framing and we never
do (01 §7.3).

Prints one line per difference and a summary line per file; exits 1 if anything differs. Also the codec of
tests/cluster/wire_client.py: schemas of the data operations, Request, Response.
"""
import argparse
import collections
import gzip
import json
import socket
import struct
import sys
import time

EPOCH = 1451606400  # expiry times count seconds from 2016-01-01 UTC

# ---- thrift binary codec driven by small schemas ------------------------------------------------------------
# A decoded struct is an ordered list of [field id, wire type, value]; re-encoding gives the same bytes.
# Schema types: bool byte i16 i32 i64 str | blob err hp (custom, length-prefixed) | gpid addr (custom, 8 bytes)
#               ("list", T) ("map", K, V) ("struct", NAME)
WIRE = {"bool": 2, "byte": 3, "i16": 6, "i32": 8, "i64": 10, "str": 11, "blob": 12, "err": 12, "hp": 12,
        "gpid": 12, "addr": 12}
BLOB_KV = ("list", ("struct", "key_value"))
TAIL5 = {"app": "i32", "part": "i32"}

STRUCTS = {
    "key_value": {1: "blob", 2: "blob", 3: "i32"},
    "full_key": {1: "blob", 2: "blob"},
    "full_data": {1: "blob", 2: "blob", 3: "blob"},
    "mutate": {1: "i32", 2: "blob", 3: "blob", 4: "i32"},
    "update_request": {1: "blob", 2: "blob", 3: "i32", 4: "i32", 5: "bool", 6: "bool", 7: "blob"},
    "multi_put_request": {1: "blob", 2: BLOB_KV, 3: "i32"},
    "multi_remove_request": {1: "blob", 2: ("list", "blob"), 3: "i64"},
    "multi_get_request": {1: "blob", 2: ("list", "blob"), 3: "i32", 4: "i32", 5: "bool", 6: "blob", 7: "blob",
                          8: "bool", 9: "bool", 10: "i32", 11: "blob", 12: "bool"},
    "batch_get_request": {1: ("list", ("struct", "full_key"))},
    "incr_request": {1: "blob", 2: "i64", 3: "i32"},
    "check_and_set_request": {1: "blob", 2: "blob", 3: "i32", 4: "blob", 5: "bool", 6: "blob", 7: "blob", 8: "i32",
                              9: "bool"},
    "check_and_mutate_request": {1: "blob", 2: "blob", 3: "i32", 4: "blob", 5: ("list", ("struct", "mutate")),
                                 6: "bool"},
    "get_scanner_request": {1: "blob", 2: "blob", 3: "bool", 4: "bool", 5: "i32", 6: "bool", 7: "i32", 8: "blob",
                            9: "i32", 10: "blob", 11: "bool", 12: "bool", 13: "bool", 14: "bool"},
    "scan_request": {1: "i64"},
    "query_cfg_request": {1: "str", 2: ("list", "i32")},
    "update_response": {1: "i32", 2: "i32", 3: "i32", 4: "i64", 5: "str"},
    "read_response": {1: "i32", 2: "blob", 3: "i32", 4: "i32", 6: "str"},
    "ttl_response": {1: "i32", 2: "i32", 3: "i32", 4: "i32", 6: "str"},
    "count_response": {1: "i32", 2: "i64", 3: "i32", 4: "i32", 6: "str"},
    "multi_remove_response": {1: "i32", 2: "i64", 3: "i32", 4: "i32", 5: "i64", 6: "str"},
    "multi_get_response": {1: "i32", 2: BLOB_KV, 3: "i32", 4: "i32", 6: "str"},
    "batch_get_response": {1: "i32", 2: ("list", ("struct", "full_data")), 3: "i32", 4: "i32", 6: "str"},
    "incr_response": {1: "i32", 2: "i64", 3: "i32", 4: "i32", 5: "i64", 6: "str"},
    "cas_response": {1: "i32", 2: "bool", 3: "bool", 4: "blob", 5: "i32", 6: "i32", 7: "i64", 8: "str"},
    "scan_response": {1: "i32", 2: BLOB_KV, 3: "i64", 4: "i32", 5: "i32", 6: "str", 7: "i32"},
    "partition_configuration": {1: "gpid", 2: "i64", 3: "i32", 4: "addr", 5: ("list", "addr"), 6: ("list", "addr"),
                                7: "i64", 8: "i32", 9: "hp", 10: ("list", "hp"), 11: ("list", "hp")},
    "query_cfg_response": {1: "err", 2: "i32", 3: "i32", 4: "bool", 5: ("list", ("struct", "partition_configuration"))},
}
S = lambda name: ("struct", name)
RPCS = {  # name: (argument, result)
    "RPC_RRDB_RRDB_PUT": (S("update_request"), S("update_response")),
    "RPC_RRDB_RRDB_MULTI_PUT": (S("multi_put_request"), S("update_response")),
    "RPC_RRDB_RRDB_REMOVE": ("blob", S("update_response")),
    "RPC_RRDB_RRDB_MULTI_REMOVE": (S("multi_remove_request"), S("multi_remove_response")),
    "RPC_RRDB_RRDB_INCR": (S("incr_request"), S("incr_response")),
    "RPC_RRDB_RRDB_CHECK_AND_SET": (S("check_and_set_request"), S("cas_response")),
    "RPC_RRDB_RRDB_CHECK_AND_MUTATE": (S("check_and_mutate_request"), S("cas_response")),
    "RPC_RRDB_RRDB_GET": ("blob", S("read_response")),
    "RPC_RRDB_RRDB_TTL": ("blob", S("ttl_response")),
    "RPC_RRDB_RRDB_BATCH_GET": (S("batch_get_request"), S("batch_get_response")),
    "RPC_RRDB_RRDB_MULTI_GET": (S("multi_get_request"), S("multi_get_response")),
    "RPC_RRDB_RRDB_SORTKEY_COUNT": ("blob", S("count_response")),
    "RPC_RRDB_RRDB_GET_SCANNER": (S("get_scanner_request"), S("scan_response")),
    "RPC_RRDB_RRDB_SCAN": (S("scan_request"), S("scan_response")),
    "RPC_RRDB_RRDB_CLEAR_SCANNER": ("i64", None),
    "RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX": (S("query_cfg_request"), S("query_cfg_response")),
}
EXPIRY = {("update_request", 3), ("multi_put_request", 3), ("incr_request", 3), ("check_and_set_request", 8),
          ("mutate", 4)}
EXPIRY_OUT = {("key_value", 3)}
FREE = {("update_response", 2), ("update_response", 4), ("update_response", 5), ("read_response", 3),
        ("read_response", 6), ("ttl_response", 3), ("ttl_response", 6), ("count_response", 3), ("count_response", 6),
        ("multi_remove_response", 3), ("multi_remove_response", 5), ("multi_remove_response", 6),
        ("multi_get_response", 3), ("multi_get_response", 6), ("batch_get_response", 3), ("batch_get_response", 6),
        ("incr_response", 3), ("incr_response", 5), ("incr_response", 6), ("cas_response", 5), ("cas_response", 7),
        ("cas_response", 8), ("scan_response", 4), ("scan_response", 6), ("query_cfg_response", 2),
        ("partition_configuration", 1), ("partition_configuration", 2), ("partition_configuration", 4),
        ("partition_configuration", 5), ("partition_configuration", 6), ("partition_configuration", 7)}
HOST_PORT = {("partition_configuration", 9), ("partition_configuration", 10), ("partition_configuration", 11)}


class Reader:
    def __init__(self, data):
        self.d, self.p = data, 0

    def take(self, n):
        if n < 0 or self.p + n > len(self.d):
            raise ValueError("frame ends inside a value (offset %d, wanted %d of %d)" % (self.p, n, len(self.d)))
        self.p += n
        return self.d[self.p - n:self.p]

    def num(self, fmt):
        return struct.unpack(">" + fmt, self.take(struct.calcsize(">" + fmt)))[0]

    def text(self):
        return self.take(self.num("i"))


def wire_type(t):
    return {"list": 15, "map": 13, "struct": 12}[t[0]] if isinstance(t, tuple) else WIRE[t]


def read(r, t):
    if isinstance(t, tuple):
        if t[0] == "list":
            et, n = r.num("b"), r.num("i")
            return [et] + [read(r, t[1]) for _ in range(n)]
        return read_struct(r, t[1])
    if t in ("str", "blob", "err"):
        return r.text()
    if t == "hp":
        return (r.text(), r.num("h"), r.num("b"))
    if t in ("gpid", "addr", "i64"):
        return r.num("q")
    return {"bool": lambda: r.num("b"), "byte": lambda: r.num("b"), "i16": lambda: r.num("h"),
            "i32": lambda: r.num("i")}[t]()


def read_struct(r, name):
    out = []
    while True:
        wt = r.num("b")
        if wt == 0:
            return out
        fid = r.num("h")
        t = STRUCTS[name].get(fid)
        if t is None:
            raise ValueError("%s has an unknown field %d" % (name, fid))
        if wire_type(t) != wt:
            raise ValueError("%s field %d has wire type %d, expected %d" % (name, fid, wt, wire_type(t)))
        out.append([fid, wt, read(r, t)])


def write(t, v):
    if isinstance(t, tuple):
        if t[0] == "list":
            return struct.pack(">bi", v[0], len(v) - 1) + b"".join(write(t[1], e) for e in v[1:])
        return write_struct(t[1], v)
    if t in ("str", "blob", "err"):
        return struct.pack(">i", len(v)) + v
    if t == "hp":
        return struct.pack(">i", len(v[0])) + v[0] + struct.pack(">hb", v[1], v[2])
    if t in ("gpid", "addr", "i64"):
        return struct.pack(">q", v)
    return struct.pack({"bool": ">b", "byte": ">b", "i16": ">h", "i32": ">i"}[t], v)


def write_struct(name, fields):
    return b"".join(struct.pack(">bh", wt, fid) + write(STRUCTS[name][fid], v) for fid, wt, v in fields) + b"\0"


def walk(t, v, visit):
    """Calls visit(struct name, field) for each field below v."""
    if isinstance(t, tuple) and t[0] == "list":
        for e in v[1:]:
            walk(t[1], e, visit)
    elif isinstance(t, tuple) and t[0] == "struct":
        for f in v:
            visit(t[1], f)
            walk(STRUCTS[t[1]][f[0]], f[2], visit)


# ---- frames --------------------------------------------------------------------------------------------------
class Request:
    """A THFT frame of header version 0 or 1, taken apart so that ids can be exchanged."""

    def __init__(self, frame):
        if frame[:4] != b"THFT":
            raise ValueError("not a THFT frame")
        self.version = struct.unpack(">I", frame[4:8])[0]
        if self.version == 0:
            (_, _, self.body_len, _, self.app, self.part, self.timeout, _, self.hash) = struct.unpack(
                ">IIIIiiiiQ", frame[8:48])
            body = frame[48:48 + self.body_len]
        else:
            mlen, self.body_len = struct.unpack(">II", frame[8:16])
            r = Reader(frame[16:16 + mlen])
            self.meta = []
            while True:
                wt = r.num("b")
                if wt == 0:
                    break
                fid = r.num("h")
                self.meta.append([fid, wt, r.num({2: "b", 8: "i", 10: "q"}[wt])])
            m = {f[0]: f[2] for f in self.meta}
            self.app, self.part, self.timeout = m.get(1, 0), m.get(2, 0), m.get(3, 0)
            body = frame[16 + mlen:16 + mlen + self.body_len]
        r = Reader(body)
        self.strict = r.num("I")
        self.rpc = r.text().decode()
        self.seqid = r.num("i")
        self.arg_wt, self.arg_id = r.num("b"), r.num("h")
        self.type = RPCS[self.rpc][0]
        self.arg = read(r, self.type)

    def encode(self, app):
        body = struct.pack(">I", self.strict) + struct.pack(">i", len(self.rpc)) + self.rpc.encode() + struct.pack(
            ">i", self.seqid) + struct.pack(">bh", self.arg_wt, self.arg_id) + write(self.type, self.arg) + b"\0"
        if self.app <= 0:
            app = self.app
        if self.version == 0:
            return b"THFT" + struct.pack(">IIIIIiiiiQ", 0, 48, 0, len(body), 0, app, self.part, self.timeout,
                                         (app * 7919 + self.part) & 0x7fffffff if self.app > 0 else 0,
                                         self.hash) + body
        meta = b"".join(struct.pack(">bh", wt, fid) + struct.pack({2: ">b", 8: ">i", 10: ">q"}[wt],
                                                                  app if fid == 1 and self.app > 0 else v)
                        for fid, wt, v in self.meta) + b"\0"
        return b"THFT" + struct.pack(">III", 1, len(meta), len(body)) + meta + body


class Response:
    def __init__(self, frame):
        r = Reader(frame)
        if r.num("i") != len(frame):
            raise ValueError("declared length differs from the frame's")
        self.error = r.text().decode()
        self.strict = r.num("I")
        self.name = r.text().decode()
        self.seqid = r.num("i")
        self.value = None
        self.type = RPCS.get(self.name[:-4], (None, None))[1]
        if self.error == "ERR_OK":
            self.res_wt, self.res_id = r.num("b"), r.num("h")
            self.value = read(r, self.type)
            if r.num("b") != 0:
                raise ValueError("no STOP after the result")
        if r.p != len(frame):
            raise ValueError("%d bytes after the result" % (len(frame) - r.p))

    def field(self, fid):
        return next((f[2] for f in self.value or [] if f[0] == fid), None)


def differences(t, old, new, shift, path=""):
    """Yields a line per difference between a recorded value and the one just received."""
    if isinstance(t, tuple) and t[0] == "list":
        if len(old) != len(new):
            yield "%s: %d elements, recorded %d" % (path, len(new) - 1, len(old) - 1)
            return
        for i, (a, b) in enumerate(zip(old[1:], new[1:])):
            yield from differences(t[1], a, b, shift, "%s[%d]" % (path, i))
    elif isinstance(t, tuple):
        a, b = ({f[0]: f[2] for f in x} for x in (old, new))
        for fid in sorted(set(a) | set(b)):
            where = "%s.%d" % (path or t[1], fid)
            if (t[1], fid) in HOST_PORT:
                continue
            if fid not in b or fid not in a:
                yield "%s: %s" % (where, "missing" if fid not in b else "not in the recording")
            elif (t[1], fid) in FREE:
                continue
            elif (t[1], fid) == ("scan_response", 3):
                # -1 is the end; Pegasus also says 0 for an empty range, and its live ids may be negative
                if (a[fid] in (-1, 0)) != (b[fid] in (-1, 0)):
                    yield "%s: context id %d, recorded %d" % (where, b[fid], a[fid])
            elif (t[1], fid) == ("ttl_response", 2):
                if abs(a[fid] - b[fid]) > 2:
                    yield "%s: ttl %d, recorded %d" % (where, b[fid], a[fid])
            elif (t[1], fid) in EXPIRY_OUT:
                if (a[fid] > 0) != (b[fid] > 0) or a[fid] > 0 and abs(b[fid] - a[fid] - shift) > 2:
                    yield "%s: expiry %d, recorded %d (+%d)" % (where, b[fid], a[fid], shift)
            else:
                yield from differences(STRUCTS[t[1]][fid], a[fid], b[fid], shift, where)
    elif old != new:
        yield "%s: %r, recorded %r" % (path, new, old)


# ---- the player ----------------------------------------------------------------------------------------------
class Link:
    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.sock = socket.create_connection((host, int(port)), timeout=10)

    def exchange(self, frame, timeout=10.0):
        self.sock.settimeout(timeout)
        self.sock.sendall(frame)
        head = self._read(4)
        return head + self._read(struct.unpack(">i", head)[0] - 4)

    def _read(self, n):
        out = b""
        while len(out) < n:
            part = self.sock.recv(n - len(out))
            if not part:
                raise ConnectionError("connection closed by the server")
            out += part
        return out


def address(v):
    u = v & (2 ** 64 - 1)
    return "%d.%d.%d.%d:%d" % (u >> 56, u >> 48 & 255, u >> 40 & 255, u >> 32 & 255, u >> 16 & 0xffff)


class Player:
    def __init__(self, meta, table):
        self.meta_address, self.table, self.links, self.contexts = meta, table, {}, {}
        self.refresh()

    def link(self, addr):
        if addr not in self.links:
            self.links[addr] = Link(addr)
        return self.links[addr]

    def refresh(self):
        arg = [[1, 11, self.table.encode()], [2, 15, [8]]]
        body = struct.pack(">I", 0x80010001) + struct.pack(">i", 38) + b"RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX" + \
            struct.pack(">i", 1) + b"\x0c\x00\x01" + write_struct("query_cfg_request", arg) + b"\0"
        frame = b"THFT" + struct.pack(">IIIIIiiiiQ", 0, 48, 0, len(body), 0, 0, 0, 5000, 0, 0) + body
        r = Response(self.link(self.meta_address).exchange(frame))
        if r.error != "ERR_OK" or r.field(1) != b"ERR_OK":
            raise ValueError("query_cfg of %s: %s %s" % (self.table, r.error, r.field(1)))
        self.app, self.count = r.field(2), r.field(3)
        self.primaries = {}
        for p in r.field(5)[1:]:
            f = {x[0]: x[2] for x in p}
            self.primaries[(f[1] >> 32) & 0xffffffff] = address(f[4])

    def play(self, ex, table_of):
        """Returns the list of differences of one exchange (empty: the same)."""
        req, shift = Request(bytes.fromhex(ex["request"])), int(round(time.time() - ex["t"]))

        def move(name, f):
            if (name, f[0]) in EXPIRY and f[2] > 0:
                f[2] += shift
        walk(req.type, req.arg, move)
        if req.rpc == "RPC_RRDB_RRDB_SCAN":
            req.arg[0][2] = self.contexts.get(req.arg[0][2], req.arg[0][2])
        if req.rpc == "RPC_RRDB_RRDB_CLEAR_SCANNER":
            req.arg = self.contexts.get(req.arg, req.arg)
        if ex["to"] == "meta":
            for f in req.arg:
                if f[0] == 1 and f[2].decode() == table_of:
                    f[2] = self.table.encode()
            target = self.meta_address
        else:
            if req.part not in self.primaries:
                return ["partition %d is not served" % req.part]
            target = self.primaries[req.part]
        try:
            raw = self.link(target).exchange(req.encode(self.app), 10 if ex["response"] else 0.3)
        except socket.timeout:
            self.links.pop(target, None)
            return [] if ex["response"] is None else ["no answer within 10 s"]
        except OSError as e:
            self.links.pop(target, None)
            return ["%s" % e]
        if ex["response"] is None:
            return ["answered, the recorded server did not"]
        old, new = Response(bytes.fromhex(ex["response"])), Response(raw)
        if old.field(3) is not None and old.name.endswith(("SCANNER_ACK", "SCAN_ACK")) and new.value:
            self.contexts[old.field(3)] = new.field(3)
        out = []
        for what in ("error", "name", "seqid", "strict"):
            if getattr(old, what) != getattr(new, what):
                out.append("%s: %r, recorded %r" % (what, getattr(new, what), getattr(old, what)))
        if old.value is not None and new.value is not None:
            if (old.res_wt, old.res_id) != (new.res_wt, new.res_id):
                out.append("result field: type %d id %d" % (new.res_wt, new.res_id))
            out += differences(old.type, old.value, new.value, shift)
        return out


def load(name):
    """(header, exchanges) of a recording."""
    with gzip.open(name, "rt") if name.endswith(".gz") else open(name) as fh:
        lines = [json.loads(line) for line in fh]
    return (lines[0] if "table" in lines[0] else {}), [line for line in lines if "request" in line]


def play_all(name, meta, table):
    """Plays a file to an empty table; yields (exchange, list of differences) for each exchange."""
    player = Player(meta, table)
    head, exchanges = load(name)
    if head and head["partitions"] != player.count:
        raise ValueError("%s was recorded on %d partitions, the table has %d" % (name, head["partitions"], player.count))
    before = None
    for ex in exchanges:
        if before is not None and 0.5 <= ex["t"] - before < 30:
            time.sleep(ex["t"] - before)
        before = ex["t"]
        try:
            diff = player.play(ex, head.get("table", ""))
        except Exception as e:  # an answer that cannot be decoded is a difference like any other
            diff = ["%s: %s" % (type(e).__name__, e)]
        yield ex, diff


def main():
    ap = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    ap.add_argument("--meta", default="127.0.0.1:34601")
    ap.add_argument("--table", default="temp", help="an empty table with the recorded number of partitions")
    ap.add_argument("--verbose", action="store_true", help="print every exchange")
    ap.add_argument("--max-print", type=int, default=40)
    ap.add_argument("files", nargs="+")
    a = ap.parse_args()
    bad_total = 0
    for name in a.files:
        total, bad, per_rpc = 0, 0, collections.Counter()
        for ex, diff in play_all(name, a.meta, a.table):
            total += 1
            if diff:
                bad += 1
                per_rpc[ex["rpc"]] += 1
            if (diff and bad <= a.max_print) or a.verbose:
                print("%s #%d %s %s" % (name, ex["n"], ex["rpc"], "; ".join(diff) if diff else "same"))
        bad_total += bad
        print("%s: %d exchanges, %d the same, %d differ%s" % (
            name, total, total - bad, bad, "" if not bad else " (" + ", ".join(
                "%s %d" % kv for kv in per_rpc.most_common()) + ")"))
    sys.exit(1 if bad_total else 0)


if __name__ == "__main__":
    main()
