#!/usr/bin/env python3
"""Writes the seeds of the frame targets: of each procedure and framing in tests/data/wire, the shortest request and the
shortest answer. Run it again after recordings were added; the seeds are committed, so that fuzzing needs no Python."""
import collections
import glob
import gzip
import json
import os
import re
import struct

HERE = os.path.dirname(os.path.abspath(__file__))


def task_codes():
    with open(os.path.join(HERE, "../../src/rpc/task_code.h"), encoding="utf-8") as file:
        names = re.findall(r'X\(k\w+, "(\w+)", k\w+\)', file.read())
    return {"RPC_" + name: number + 1 for number, name in enumerate(names)}


def arguments(frame):
    if frame[:4] == b"RDSN":
        return frame[192:]
    start = 48 if struct.unpack(">I", frame[4:8])[0] == 0 else 16 + struct.unpack(">I", frame[8:12])[0]
    name = struct.unpack(">I", frame[start + 4 : start + 8])[0]
    return frame[start + 8 + name + 4 :]


def result(frame):
    if frame[:4] == b"RDSN":
        return frame[192:]
    at = 4
    at += 4 + struct.unpack(">I", frame[at : at + 4])[0] + 4
    at += 4 + struct.unpack(">I", frame[at : at + 4])[0] + 4
    return frame[at:]


def main():
    codes = task_codes()
    seeds = collections.defaultdict(dict)

    def add(target, name, data):
        known = seeds[target].get(name)
        if data and (known is None or len(data) < len(known)):
            seeds[target][name] = data

    for path in sorted(glob.glob(os.path.join(HERE, "../data/wire/**/*.jsonl.gz"), recursive=True)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            next(file)
            for line in map(json.loads, file):
                rpc = line["rpc"]
                request = bytes.fromhex(line["request"])
                response = bytes.fromhex(line["response"] or "")
                native = request[:4] == b"RDSN"
                version = "rdsn" if native else f"v{request[7]}"
                add("fuzz_rdsn_frame" if native else "fuzz_thft_frame", f"{rpc}-{version}", request)
                if native:
                    add("fuzz_rdsn_frame", f"{rpc}-answer", response)
                number = bytes([codes[rpc]])
                add("fuzz_request_decode", f"{rpc}-arguments", number + arguments(request))
                if response and result(response):
                    add("fuzz_request_decode", f"{rpc}-result", number + result(response))
    for target, files in seeds.items():
        folder = os.path.join(HERE, "corpus", target)
        os.makedirs(folder, exist_ok=True)
        for name, data in files.items():
            with open(os.path.join(folder, name), "wb") as file:
                file.write(data)


if __name__ == "__main__":
    main()
