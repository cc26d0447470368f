"""Every port of every daemon against the inputs of malformed.py: right answers or a closed connection, no crash, no
memory for what a peer merely claims."""
import concurrent.futures
import re
import socket
import struct
import time

import pytest

import malformed
import wire_client
import wire_replay

MINIMUM = 328            # what ended four daemons of a Pegasus cluster
ANSWER_SECONDS = 5.0
GROWTH_MIB = 64          # resident memory may grow by so much through all of it
NAMES = ["meta1", "replica1", "replica2", "replica3"]


def target_of(box, name):
    table = wire_client.Table(box.metas, "temp")
    table.refresh()
    address = box.address(name)
    if name.startswith("meta"):
        return malformed.Target("meta", address)
    led = next(p for p, a in sorted(table.primaries.items()) if a == address)
    followed = next((p for p, m in sorted(table.members.items()) if address in m[1:]), None)
    return malformed.Target("replica", address, table.app, led, followed)


def converse(address, data):
    """(bytes received, whether the peer closed, own address). Waits for the first complete answer or the end."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS) as s:
        me = "%s:%d" % s.getsockname()
        received = b""
        try:
            s.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # closed while we were talking: whatever it said is still to be read
        try:
            s.settimeout(0.4)
            closed = half_closed = False
            end = time.monotonic() + ANSWER_SECONDS
            while time.monotonic() < end and not is_answer(received):
                try:
                    part = s.recv(65536)
                except socket.timeout:
                    if not half_closed:
                        # A peer that waits for the rest of a frame learns here that none comes.
                        s.shutdown(socket.SHUT_WR)
                        s.settimeout(ANSWER_SECONDS)
                        half_closed = True
                    continue
                if not part:
                    closed = True
                    break
                received += part
        except (ConnectionResetError, BrokenPipeError, OSError) as e:
            closed = not isinstance(e, socket.timeout)
        return received, closed, me


def is_answer(received):
    if received[:4] == b"RDSN":
        return len(received) >= 192 and len(received) >= 192 + struct.unpack("<I", received[16:20])[0]
    if received[:5] == b"HTTP/":
        return b"\r\n\r\n" in received
    return len(received) >= 4 and len(received) >= struct.unpack(">i", received[:4])[0]


def judge(expected, received, closed):
    """An empty string when the outcome is what the specification says."""
    if expected == malformed.CLOSED:
        if received:
            return "answered %r" % received[:60]
        return "" if closed else "neither answered nor closed"
    if expected == malformed.ANY:
        return "" if closed or is_answer(received) else "neither answered nor closed"
    if not is_answer(received):
        return "closed without an answer" if closed else "not answered"
    try:
        answer = envelope(received)
    except ValueError as e:
        return "answered with a frame that does not parse: %s" % e
    if answer[0] != expected[0]:
        return "answered %s" % answer[0]
    if len(expected) > 1:
        got = wire_replay.Response(received).field(1)
        if got != expected[1]:
            return "answered error %s" % got
    elif expected[0] != "ERR_OK" and answer[1]:
        return "an error answer with %d bytes after the sequence number" % answer[1]
    return ""


def envelope(received):
    """(error name, bytes after the sequence number)"""
    r = wire_replay.Reader(received)
    if r.num("i") != len(received):
        raise ValueError("declared length %d of %d" % (struct.unpack(">i", received[:4])[0], len(received)))
    error = r.text().decode()
    if r.num("I") != 0x80010002:
        raise ValueError("not a strict reply")
    if not r.text().endswith(b"_ACK"):
        raise ValueError("a name without _ACK")
    r.num("i")
    return error, len(received) - r.p


@pytest.mark.parametrize("name", NAMES)
def test_malformed_inputs(box, name, record_property):
    box.wait_healthy("temp")
    target = target_of(box, name)
    inputs = malformed.inputs(target)
    assert len(inputs) >= MINIMUM
    pids, before = {n: box.pid(n) for n in NAMES}, box.resident_mib(name)
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(lambda i: converse(target.address, i[1]), inputs))
    took = time.monotonic() - began
    assert {n: box.pid(n) for n in NAMES} == pids, "a daemon died"
    record_property("inputs", len(inputs))
    record_property("seconds", round(took, 1))
    record_property("resident MiB before and after", (round(before), round(box.resident_mib(name))))
    wrong = ["%s: %s, expected %s" % (what, judge(expected, received, closed), expected)
             for (what, _, expected), (received, closed, _) in zip(inputs, outcomes)
             if judge(expected, received, closed)]
    assert not wrong, "%d of %d:\n%s" % (len(wrong), len(inputs), "\n".join(wrong[:40]))
    assert box.resident_mib(name) - before < GROWTH_MIB
    # And it serves as before.
    client = wire_client.Table(box.metas, "temp")
    for partition in range(8):
        client.put(wire_client.key_in_partition(partition, 8), b"s", b"after " + name.encode())
    client.close()


@pytest.mark.parametrize("name", ["meta1", "replica1"])
def test_memory_is_not_given_to_claims(box, name):
    """Two hundred peers announce the largest frame that is allowed and send nothing of it."""
    before = box.resident_mib(name)
    header = b"THFT" + struct.pack(">IIIIIiiiiQ", 0, 48, 0, malformed.MAX_FRAME - 1024, 0, 0, 0, 0, 0, 0)
    links = []
    try:
        for _ in range(200):
            host, port = box.address(name).split(":")
            links.append(socket.create_connection((host, int(port)), timeout=5))
            links[-1].sendall(header + bytes(1000))
        time.sleep(0.5)
        assert box.resident_mib(name) - before < GROWTH_MIB
    finally:
        for link in links:
            link.close()
    table = wire_client.Table(box.metas, "temp")
    table.refresh()
    table.close()


def test_another_signature_on_the_same_connection(box):
    query = wire_replay.write_struct("query_cfg_request", [[1, 11, b"temp"], [2, 15, [8]]])
    good = wire_client.frame(wire_client.message(wire_client.QUERY_CFG, 3, query))
    link = wire_client.Connection(box.meta, 5)
    assert link.call(good, 5).error == "ERR_OK"
    link.socket.sendall(b"GET /version HTTP/1.1\r\n\r\n")
    with pytest.raises(ConnectionError):
        link.read(1)


def test_a_frame_after_a_refused_argument_is_answered(box):
    """A well-framed request whose argument does not parse costs an error, not the connection (01 §1)."""
    target = target_of(box, "replica1")
    link = wire_client.Connection(target.address, 5)
    bad = target.frame(struct.pack(">Ii", 0x80010001, 17) + b"RPC_RRDB_RRDB_PUT" + struct.pack(">i", 4) + b"\x0c\0\1" + b"\xff" * 9)
    assert link.call(bad, 5).error == "ERR_INVALID_DATA"
    good = target.frame(wire_client.message("RPC_RRDB_RRDB_GET", 5, wire_replay.write("blob", wire_client.raw_key(b"n", b""))))
    assert link.call(good, 5).error == "ERR_OK"


def test_pipelined_requests_are_matched_by_their_number(box):
    target = target_of(box, "replica2")
    link = wire_client.Connection(target.address, 5)
    data = b"".join(target.frame(wire_client.message("RPC_RRDB_RRDB_GET", seqid, wire_replay.write(
        "blob", wire_client.raw_key(b"p%d" % seqid, b"")))) for seqid in range(-50, 450))
    link.socket.sendall(data)
    seen = [wire_replay.Response(link.read_frame()).seqid for _ in range(500)]
    assert sorted(seen) == list(range(-50, 450))


def test_frames_that_arrive_byte_by_byte(box):
    query = wire_replay.write_struct("query_cfg_request", [[1, 11, b"temp"], [2, 15, [8]]])
    link = wire_client.Connection(box.meta, 5)
    for byte in wire_client.frame(wire_client.message(wire_client.QUERY_CFG, 3, query)):
        link.socket.sendall(bytes([byte]))
    assert wire_replay.Response(link.read_frame()).error == "ERR_OK"


@pytest.mark.parametrize("name", ["meta1", "replica3"])
def test_the_log_says_who_was_cut_off_and_why(box, name):
    for _ in range(3):
        received, closed, me = converse(box.address(name), b"\x01\x02\x03\x04 nonsense")
        assert closed and not received
    end = time.monotonic() + 5
    # A line per peer and interval is enough: any of the three may be the one that was written down.
    while not re.search(r"127\.0\.0\.1:\d+", "\n".join(
            line for line in box.log(name).splitlines() if "clos" in line.lower())):
        assert time.monotonic() < end, "no line of the log names the peer of a closed connection"
        time.sleep(0.05)


@pytest.mark.parametrize("name", ["meta1", "replica2"])
def test_a_client_that_speaks_tls_is_named_with_the_remedy(box, name):
    # The beginning of a ClientHello, as curl https://... sends it. From an address of its own: a peer gets a line per interval.
    host, port = box.address(name).split(":")
    with socket.create_connection((host, int(port)), timeout=ANSWER_SECONDS, source_address=("127.0.0.7", 0)) as s:
        s.sendall(bytes.fromhex("16030100c8010000c40303") + bytes(189))
        try:
            assert s.recv(100) == b""
        except ConnectionResetError:
            pass
    end = time.monotonic() + 5
    while not re.search(r"127\.0\.0\.7:\d+.*TLS.*connect without it", box.log(name)):
        assert time.monotonic() < end, "no line of the log names the peer that began a TLS handshake, and the remedy"
        time.sleep(0.05)
