"""Inputs that no honest peer sends, each with what the specification says to it (01 §1 to §6, §9.3, §10).

An input is (name, bytes, expectation). Expectations:
  CLOSED        the connection is closed without a byte
  ("ERR_X",)    an answer with this envelope error; the connection stays open
  error codes   ("ERR_OK", 4): envelope ERR_OK and this number in field 1 of the result
  ANY           either an answer or a closed connection, but one of them; nothing is left hanging
"""
import os
import random
import struct

import wire_client
import wire_replay

CLOSED = "closed"
ANY = "any"
INVALID_DATA = ("ERR_INVALID_DATA",)
NO_HANDLER = ("ERR_HANDLER_NOT_FOUND",)
NOT_HERE = ("ERR_OBJECT_NOT_FOUND",)
MAX_FRAME = 64 << 20
WIRE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data", "wire")

RRDB = ["PUT", "MULTI_PUT", "REMOVE", "MULTI_REMOVE", "INCR", "CHECK_AND_SET", "CHECK_AND_MUTATE", "GET", "TTL",
        "BATCH_GET", "MULTI_GET", "SORTKEY_COUNT", "GET_SCANNER", "SCAN"]
META = ["RPC_CM_QUERY_PARTITION_CONFIG_BY_INDEX", "RPC_CM_CREATE_APP", "RPC_CM_DROP_APP", "RPC_CM_LIST_APPS",
        "RPC_CM_LIST_NODES", "RPC_CM_CLUSTER_INFO"]
BARE_KEY = {"GET", "TTL", "REMOVE"}     # their argument is a raw key
BLOB = BARE_KEY | {"SORTKEY_COUNT"}


class Target:
    """A daemon's port: for a replica daemon with a partition that it leads, and one that it only follows."""

    def __init__(self, kind, address, app=0, partition=0, followed=None):
        self.kind, self.address = kind, address
        self.app, self.partition, self.followed = app, partition, followed

    def frame(self, body):
        return wire_client.frame(body, self.app, self.partition, 1000, 0)

    def names(self):
        return ["RPC_RRDB_RRDB_" + n for n in RRDB] if self.kind == "replica" else META


def i32(n):
    return struct.pack(">I", n & 0xFFFFFFFF)


def signatures():
    choose = random.Random(1)
    words = [b"HEAD / HTTP/1.1\r\n\r\n", b"PUT / HTTP/1.1\r\n\r\n", b"DELETE / HTTP/1.1\r\n\r\n", b"OPTIONS * HTTP/1.1\r\n\r\n",
             b"SSH-2.0-OpenSSH_9.2\r\n", b"EHLO example.org\r\n", b"*1\r\n$4\r\nPING\r\n", b"_RAW" + bytes(60),
             b"THFS" + bytes(60), b"RDSM" + bytes(200), b"thft" + bytes(60), b"get / HTTP/1.1\r\n\r\n", bytes(64),
             b"\xff" * 64, b"\x00\x00\x00\x0c", b"\x80\x01\x00\x01" + bytes(40), b"\r\n\r\n\r\n\r\n", b"GETX / HTTP/1.1\r\n\r\n"]
    for n, data in enumerate(words):
        yield "signature %r" % data[:8], data, CLOSED
    for n in range(24):
        data = bytes([choose.randrange(0x80, 0x100)]) + choose.randbytes(choose.randrange(3, 400))
        yield "random bytes %d" % n, data, CLOSED


def headers(target):
    body = wire_client.message(target.names()[0], 1, b"")

    def v0(version=0, header_length=48, body_length=len(body), body=body):
        return b"THFT" + struct.pack(">IIIIIiiiiQ", version, header_length, 0, body_length & 0xFFFFFFFF, 0, target.app,
                                     target.partition, 0, 0, 0) + body
    for version in (2, 3, 256, 0x7FFFFFFF, 0xFFFFFFFF):
        yield "version %#x" % version, v0(version), CLOSED
    for length in (0, 1, 47, 49, 192, 0x7FFFFFFF, 0xFFFFFFFF):
        yield "header length %#x" % length, v0(header_length=length), CLOSED
    for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, MAX_FRAME + 1, 0x40000000):
        yield "body length %#x" % length, v0(body_length=length, body=b""), CLOSED
        yield "body length %#x with a body" % length, v0(body_length=length), CLOSED
    for length in range(0, 12):
        yield "body of %d bytes" % length, v0(body_length=length, body=body[:length]), CLOSED
    for cut in range(4, 48, 4):
        yield "header cut at %d" % cut, v0()[:cut], CLOSED
    for cut in range(49, len(v0()), 7):
        yield "body cut at %d" % cut, v0()[:cut], CLOSED

    def v1(meta, meta_length=None, body_length=len(body), body=body):
        meta_length = len(meta) if meta_length is None else meta_length
        return b"THFT" + struct.pack(">III", 1, meta_length & 0xFFFFFFFF, body_length & 0xFFFFFFFF) + meta + body
    good = b"\x08\0\1" + i32(target.app) + b"\x08\0\2" + i32(target.partition) + b"\0"
    for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, MAX_FRAME + 1):
        yield "meta length %#x" % length, v1(good, length), CLOSED
        yield "v1 body length %#x" % length, v1(good, body_length=length), CLOSED
    yield "both lengths together beyond the bound", v1(good, MAX_FRAME - 8, MAX_FRAME - 8), CLOSED
    for name, meta in (("empty", b""), ("without its end", good[:-1]), ("cut in a field", good[:9]),
                       ("of zeros", bytes(20)), ("of ones", b"\xff" * 20), ("of an unknown type", b"\x7f\0\1" + bytes(20)),
                       ("with a string of 2 GiB", b"\x0b\0\x09" + i32(0x7FFFFFFF) + b"\0"),
                       ("with a string of length -1", b"\x0b\0\x09" + i32(-1) + b"\0"),
                       ("with a list of 2^31 - 1 structs", b"\x0f\0\x09\x0c" + i32(0x7FFFFFFF) + b"\0"),
                       ("nested deeply", b"\x0c\0\x09" * 5000 + b"\0")):
        # The five known fields may all be absent, and a parser may stop at the first zero byte.
        yield "meta " + name, v1(meta), ANY if name in ("of zeros",) else CLOSED
    yield "v1 body empty", v1(good, body_length=0, body=b""), CLOSED


def messages(target):
    name = target.names()[0].encode()

    def message(version=0x80010001, name=name, length=None, seqid=1, rest=b"\0"):
        return target.frame(i32(version) + i32(len(name) if length is None else length) + name + i32(seqid) + rest)
    for version in (0x80010000, 0x80010002, 0x80010003, 0x80010005, 0x800100FF, 0x80020001, 0x80000001, 0xFFFFFFFF):
        yield "message header %#x" % version, message(version), CLOSED
    for length in (-1, 0x7FFFFFFF, 0x10000, -0x80000000, 1000):
        yield "name length %d" % length, message(length=length), CLOSED
    yield "name of no bytes", message(name=b""), ANY
    for n, unknown in enumerate((b"x", b"RPC_", b"RPC_RRDB_RRDB_GETX", b"RPC_RRDB_RRDB_GET ", b"rpc_rrdb_rrdb_get",
                                 b"RPC_CM_NOTHING", b"R" * 47)):
        yield "unknown name %r" % unknown[:20], message(name=unknown), NO_HANDLER
    for n, unknown in enumerate((b"R" * 48, b"R" * 5000, b"\xff\xfe\xfd", b"RPC_\0RRDB", b"\n\r\t", b"%s%n%n%n", b"../../etc")):
        yield "odd name %r" % unknown[:20], message(name=unknown), ANY


def arguments(target):
    """Well-framed requests of every name with an argument that does not parse."""
    deep = b"\x0c\0\1" * 20000
    # The declared type of the outer field is not looked at (01 §4): these two may be read as an empty request.
    lenient = [("an unknown type", b"\x7f\0\1" + bytes(8)), ("a negative type", b"\xff\0\1" + bytes(8))]
    spoiled = [("a struct of ones", b"\x0c\0\1" + b"\xff" * 40), ("half a field", b"\x0c\0"),
               ("a blob of 2 GiB", b"\x0c\0\1\x0c\0\1" + i32(0x7FFFFFFF) + b"abc"),
               ("a blob of length -1", b"\x0c\0\1\x0c\0\1" + i32(-1) + b"abc"),
               ("deep nesting", deep),
               ("no end", b"\x0c\0\1\x08\0\x63" + i32(5)),
               ("a huge list in an unknown field", b"\x0c\0\1\x0f\0\x63\x0c" + i32(0x7FFFFFFF) + b"\0\0"),
               ("a list of -1 in an unknown field", b"\x0c\0\1\x0f\0\x63\x08" + i32(-1) + b"\0\0"),
               ("a huge map in an unknown field", b"\x0c\0\1\x0d\0\x63\x0b\x0b" + i32(0x7FFFFFFF) + b"\0\0")]
    for rpc in target.names():
        short = rpc.replace("RPC_RRDB_RRDB_", "")
        if rpc == "RPC_CM_CREATE_APP" or rpc == "RPC_CM_DROP_APP":
            expected = ANY  # an argument without a name may be refused by what it asks for rather than how
        else:
            expected = INVALID_DATA
        for name, argument in lenient:
            yield "%s with %s" % (short, name), target.frame(
                struct.pack(">Ii", 0x80010001, len(rpc)) + rpc.encode() + i32(9) + argument), ANY
        for name, argument in spoiled:
            body = struct.pack(">Ii", 0x80010001, len(rpc)) + rpc.encode() + i32(9) + argument
            yield "%s with %s" % (short, name), target.frame(body), ANY if short in BLOB | {"RPC_CM_CLUSTER_INFO"} else expected
        body = struct.pack(">Ii", 0x80010001, len(rpc)) + rpc.encode() + i32(9)
        yield "%s without an argument" % short, target.frame(body), ANY
        yield "%s with an empty argument" % short, target.frame(body + b"\0"), ANY


def replica_rules(target):
    """Wrong partition, wrong key, wrong hash: frames that parse and ask the wrong thing."""
    get = "RPC_RRDB_RRDB_GET"

    def blob(b):
        return i32(len(b)) + b

    def ask(rpc, argument, app=target.app, partition=target.partition, hash_value=0):
        return wire_client.frame(wire_client.message(rpc, 5, argument), app, partition, 1000, hash_value)
    key = blob(wire_client.raw_key(b"hk", b"sk"))
    for app in (999, 0x7FFFFFFF):
        yield "table %d" % app, ask(get, key, app), NOT_HERE
    for partition in (8, 1000, -1, 0x7FFFFFFF, -0x80000000):
        yield "partition %d" % partition, ask(get, key, partition=partition), NOT_HERE
    for app in (0, -1, -0x80000000):
        for rpc in (get, "RPC_RRDB_RRDB_PUT"):
            yield "%s with table %d" % (rpc[14:], app), ask(rpc, key, app), NO_HANDLER
    for rpc in ("RPC_CM_LIST_NODES", "RPC_CLI_CLI_CALL", "RPC_NOTHING"):
        yield "%s sent to a partition" % rpc, ask(rpc, b"\0"), NO_HANDLER
    yield "RPC_CM_LIST_APPS sent to a replica daemon", ask("RPC_CM_LIST_APPS", b"\0", 0), NO_HANDLER
    if target.followed is not None:
        put = wire_replay.write_struct("update_request", [[1, 12, wire_client.raw_key(b"hk", b"sk")], [2, 12, b"v"],
                                                          [3, 8, 0]])
        yield "get of a secondary", ask(get, key, partition=target.followed), ("ERR_INVALID_STATE",)
        yield "put to a secondary", ask("RPC_RRDB_RRDB_PUT", put, partition=target.followed), ("ERR_INVALID_STATE",)
    for hash_value in (1, 0xFFFFFFFFFFFFFFFF, wire_client.key_hash(b"other")):
        # Checked only after a split (01 §9.3 row 5); the server does not compute the partition for the client.
        yield "hash %#x" % hash_value, ask(get, key, hash_value=hash_value), ("ERR_OK", 1)
    for name, raw in (("no key", b""), ("a key of one byte", b"\0"), ("a key that ends early", b"\0\x05abc"),
                      ("a key of declared length 65535", b"\xff\xff" + bytes(65535)),
                      ("a key of declared length 65535 and no more", b"\xff\xff")):
        for rpc in ("GET", "TTL", "REMOVE"):
            yield "%s with %s" % (rpc, name), ask("RPC_RRDB_RRDB_" + rpc, blob(raw)), ("ERR_OK", 4)
        update = wire_replay.write_struct("update_request", [[1, 12, raw], [2, 12, b"v"], [3, 8, 0]])
        yield "PUT with %s" % name, ask("RPC_RRDB_RRDB_PUT", update), ("ERR_OK", 4)
    for context in (0, -1, -2, 0x7FFFFFFFFFFFFFFF):
        yield "SCAN of context %d" % context, ask("RPC_RRDB_RRDB_SCAN", wire_replay.write_struct(
            "scan_request", [[1, 10, context]])), ("ERR_OK", 1)
    for n in (1 << 20, 3 << 20):
        update = wire_replay.write_struct("update_request", [[1, 12, wire_client.raw_key(b"h", b"s")], [2, 12, bytes(n)],
                                                             [3, 8, 0]])
        yield "PUT of %d bytes" % n, ask("RPC_RRDB_RRDB_PUT", update), INVALID_DATA


def meta_rules(target):
    for rpc in ("RPC_RRDB_RRDB_GET", "RPC_RRDB_RRDB_PUT", "RPC_CONFIG_PROPOSAL_NOTHING"):
        yield "%s sent to a meta" % rpc, wire_client.frame(wire_client.message(rpc, 5, i32(4) + b"\0\1hs")), NO_HANDLER
    query = wire_replay.write_struct("query_cfg_request", [[1, 11, b"temp"], [2, 15, [8]]])
    for app, partition in ((1, 0), (7, 3), (0x7FFFFFFF, -1), (-1, -2)):
        # Upstream aborts on an application id in a meta's header (01 §10 rule 3).
        yield "routing with table %d in the header" % app, wire_client.frame(
            wire_client.message(wire_client.QUERY_CFG, 5, query), app, partition), ("ERR_OK",)
    for count in (0x7FFFFFFF, -1, 1000000):
        argument = b"\x0b\0\1" + i32(4) + b"temp" + b"\x0f\0\2\x08" + i32(count) + b"\0"
        yield "routing for %d partitions" % count, wire_client.frame(
            wire_client.message(wire_client.QUERY_CFG, 5, argument)), INVALID_DATA


def native(target):
    """The header of Pegasus' own processes (01 §6)."""
    name = target.names()[0].encode()

    def header(version=0, length=192, header_crc=0, body_length=0, body_crc=0, rpc=name, app=target.app,
               partition=target.partition, context=0x441):
        return (b"RDSN" + struct.pack("<IIIIIQQ", version, length, header_crc, body_length & 0xFFFFFFFF, body_crc, 77, 78)
                + rpc[:48].ljust(48, b"\0") + struct.pack("<IIiiQQiiQ", 0, 0, app, partition, context, 0x7F00000100010001, 1000,
                                                          0, 0) + bytes(48) + struct.pack("<II", 0, 0))
    for length in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, MAX_FRAME + 1):
        yield "native body length %#x" % length, header(body_length=length), CLOSED
    for crc in (1, 0xDEADBEEF):
        yield "native header crc %#x" % crc, header(header_crc=crc), CLOSED
        yield "native body crc %#x" % crc, header(body_length=4, body_crc=crc) + b"\0\0\0\0", CLOSED
    for format_bits in (0, 2, 3, 15):
        yield "native payload format %d" % format_bits, header(context=1 | format_bits << 6 | 1 << 10), CLOSED
    yield "native reply instead of a request", header(context=0x440), ANY
    for cut in range(8, 192, 16):
        yield "native header cut at %d" % cut, header()[:cut], CLOSED
    yield "native name without an end", header(rpc=b"R" * 48), ANY
    yield "native name of no bytes", header(rpc=b""), ANY
    yield "native unknown name", header(rpc=b"RPC_NOTHING"), ANY
    for n, body in enumerate((b"", b"\0", b"\xff" * 30, b"\x0c\0\0" + i32(0x7FFFFFFF), b"\x0c\0\0" * 5000, b"\x0c")):
        yield "native body %d" % n, header(body_length=len(body)) + body, ANY
    yield "native body cut", header(body_length=100) + bytes(50), CLOSED


def http():
    yield "HTTP without a version", b"GET\x20/\r\n\r\n", ANY
    yield "HTTP with a version of the future", b"GET / HTTP/9.9\r\n\r\n", ANY
    yield "HTTP without an end", b"GET / HTTP/1.1\r\nHost: x\r\n", CLOSED
    yield "HTTP with a path of a MiB", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n", ANY
    yield "HTTP with a header of a MiB", b"GET / HTTP/1.1\r\nX: " + b"a" * (1 << 20) + b"\r\n\r\n", ANY
    yield "HTTP with 10000 headers", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 10000 + b"\r\n", ANY
    for length in (b"-1", b"99999999999999999999", b"0x10", b"abc", b"9223372036854775807"):
        yield "HTTP with Content-Length " + length.decode(), (
            b"POST /updateConfig HTTP/1.1\r\nContent-Length: " + length + b"\r\n\r\n"), ANY
    yield "HTTP with a broken chunk", (b"POST /version HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                       b"ffffffffffffffff\r\n"), ANY
    yield "HTTP with zero bytes", b"GET /\0\0\0 HTTP/1.1\r\n\r\n", ANY
    yield "HTTP with broken percent signs", b"GET /version%zz%1 HTTP/1.1\r\n\r\n", ANY
    yield "HTTP with a path upwards", b"GET /../../../etc/passwd HTTP/1.1\r\n\r\n", ANY
    yield "HTTP with a doubled parameter", b"GET /config?name=a&name=b HTTP/1.1\r\n\r\n", ANY
    yield "HTTP with bare line feeds", b"GET /version HTTP/1.1\n\n", ANY
    yield "HTTP with garbage after the first line", b"GET / HTTP/1.1\r\n" + b"\xff" * 200 + b"\r\n\r\n", ANY


def mutations(target):
    """Recorded requests with some of their bytes changed."""
    choose = random.Random(7)
    frames = []
    for name in ("go", "java", "python3"):
        _, exchanges = wire_replay.load(os.path.join(WIRE, name + ".jsonl.gz"))
        frames += [bytes.fromhex(x["request"]) for x in exchanges
                   if x["to"] == target.kind and x["rpc"] != "RPC_RRDB_RRDB_CLEAR_SCANNER"]
    for n in range(120):
        data = bytearray(choose.choice(frames))
        # Not the signature: signatures() has those.
        for _ in range(choose.randrange(1, 6)):
            data[choose.randrange(4, len(data))] = choose.choice((0, 1, 0x7F, 0x80, 0xFF, choose.randrange(256)))
        yield "mutation %d" % n, bytes(data), ANY


def inputs(target):
    """All inputs for a port, as a list."""
    out = list(signatures()) + list(headers(target)) + list(messages(target)) + list(arguments(target))
    out += list(replica_rules(target) if target.kind == "replica" else meta_rules(target))
    return out + list(native(target)) + list(http()) + list(mutations(target))
