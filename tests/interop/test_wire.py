"""The recorded conversations of the Go, Java and Python clients, replayed: each answer must be what Pegasus said."""
import os
import re
import threading

import pytest

import wire_replay

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WIRE = os.path.join(REPOSITORY, "tests", "data", "wire")
CONVERSATIONS = {"go": 597, "java": 1086, "python3": 282}


class Excuse:
    """A row of docs/differences.md."""

    def __init__(self, conversation, rpc, difference, reason):
        self.conversation, self.rpc, self.reason = conversation, rpc, reason
        self.pattern = re.compile(difference)

    def covers(self, conversation, rpc, difference):
        return (self.conversation == conversation and self.rpc == rpc
                and self.pattern.search(difference) is not None)

    def __str__(self):
        return "%s %s `%s`" % (self.conversation, self.rpc, self.pattern.pattern)


def read_excuses(text):
    excuses, inside = [], False
    for line in text.splitlines():
        cells = [c.strip().strip("`") for c in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if cells[:3] == ["conversation", "rpc", "difference"]:
            inside = True
        elif inside and not cells:
            inside = False
        elif inside and not set(cells[0]) <= set("-: "):
            assert len(cells) == 4 and cells[3], "a row of docs/differences.md needs four cells: " + line
            excuses.append(Excuse(*(c.replace("\\|", "|") for c in cells)))
    return excuses


def documented():
    with open(os.path.join(REPOSITORY, "docs", "differences.md")) as text:
        return read_excuses(text.read())


@pytest.fixture(scope="module")
def replayed(box):
    """name -> [(exchange, differences)]. All are played at the same time, since they keep their clients' pauses."""
    results, failures = {}, {}

    def play(name):
        try:
            table = "wire_" + name
            box.create(table)
            results[name] = list(wire_replay.play_all(os.path.join(WIRE, name + ".jsonl.gz"), box.meta, table))
        except Exception as e:  # noqa: raised again in the test of that conversation
            failures[name] = e
    threads = [threading.Thread(target=play, args=(name,)) for name in CONVERSATIONS]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return results, failures


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_conversation(replayed, name):
    results, failures = replayed
    if name in failures:
        raise failures[name]
    excuses = [e for e in documented() if e.conversation == name]
    used, unexplained, excused = set(), [], 0
    for exchange, differences in results[name]:
        for difference in differences:
            cover = [e for e in excuses if e.covers(name, exchange["rpc"], difference)]
            used.update(map(id, cover))
            excused += bool(cover)
            if not cover:
                unexplained.append("#%d %s %s" % (exchange["n"], exchange["rpc"], difference))
    print("%s: %d exchanges, %d differ on purpose, %d differ" % (name, len(results[name]), excused, len(unexplained)))
    assert len(results[name]) == CONVERSATIONS[name]
    assert not unexplained, "%d differences, the first of them:\n%s" % (len(unexplained), "\n".join(unexplained[:30]))
    stale = [str(e) for e in excuses if id(e) not in used]
    assert not stale, "docs/differences.md lists what does not differ: " + "; ".join(stale)


def test_rows_of_the_documentation_are_read():
    rows = read_excuses("text | with | bars\n\n| conversation | rpc | difference | reason |\n| --- | --- | --- | --- |\n"
                        "| go | RPC_RRDB_RRDB_GET | `read_response.1: 4, recorded (1\\|2)` | better |\n\nmore")
    assert len(rows) == 1
    assert rows[0].covers("go", "RPC_RRDB_RRDB_GET", "read_response.1: 4, recorded 2")
    assert not rows[0].covers("go", "RPC_RRDB_RRDB_GET", "read_response.1: 5, recorded 2")
    assert not rows[0].covers("java", "RPC_RRDB_RRDB_GET", "read_response.1: 4, recorded 2")


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_codec_gives_back_the_recorded_frames(name):
    """What the replay decodes and encodes again is what the client sent: else it would compare something else."""
    _, exchanges = wire_replay.load(os.path.join(WIRE, name + ".jsonl.gz"))
    for exchange in exchanges:
        request = wire_replay.Request(bytes.fromhex(exchange["request"]))
        again = wire_replay.Request(request.encode(request.app))
        assert (again.rpc, again.seqid, again.part, again.arg) == (request.rpc, request.seqid, request.part, request.arg)
        if exchange["response"] is not None:
            wire_replay.Response(bytes.fromhex(exchange["response"]))
