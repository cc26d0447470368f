"""The tests' own client against the specification's examples, so that the suites stand on something checked."""
import wire_client as w


def test_hash_vectors():
    # 01 §13
    for data, wanted in ((b"", 0), (b"a", 0x8C2F8445B4CBFC3C), (b"123456789", 0xAE8B14860A799888),
                         (b"hello", 0x3377857006524257), (bytes(range(256)), 0xFF71E21279D9966E)):
        assert w.crc64(data) == wanted
    assert w.key_hash(b"", b"world") == 0x34A6F418FB3758BF
    assert w.key_hash(b"hello", b"world") % 8 == 7


def test_the_worked_example():
    # 01 §5.3
    argument = w.wire_replay.write("blob", w.raw_key(b"hello", b"world"))
    data = w.frame(w.message("RPC_RRDB_RRDB_GET", 1, argument), 2, 7, 1000, w.key_hash(b"hello"))
    assert data.hex() == (
        "54484654" "00000000" "00000030" "00000000" "00000031" "00000000" "00000002" "00000007" "000003e8" "00003de5"
        "3377857006524257" "80010001" "00000011" "5250435f525244425f525244425f474554" "00000001" "0c0001"
        "0000000c" "000568656c6c6f776f726c64" "00")


def test_keys_for_partitions():
    assert [w.key_hash(w.key_in_partition(p, 8)) % 8 for p in range(8)] == list(range(8))
