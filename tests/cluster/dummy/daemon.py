#!/usr/bin/python3
"""Stands in for markab-meta and markab-replica in the launcher's own tests: listens on its port until SIGTERM.

--set dummy.fail=NAME makes that daemon end with a sentence and exit code 1, dummy.deaf=NAME makes it ignore SIGTERM.
"""
import configparser
import os
import signal
import socket
import sys

config = configparser.ConfigParser()
config.read(sys.argv[sys.argv.index("--config") + 1])
settings = dict(sys.argv[i + 1].split("=", 1) for i, word in enumerate(sys.argv) if word == "--set")
name = os.path.basename(os.path.dirname(sys.argv[sys.argv.index("--config") + 1]))
if settings.get("dummy.fail") == name and "--check-config" not in sys.argv:
    sys.exit("markab: the data directory of %s is not writable; choose another" % name)
if "--check-config" in sys.argv:
    # A key of the section "meta" or "replica" is known to that kind only.
    kind = "meta" if "meta" in os.path.basename(sys.argv[0]) else "replica"
    sys.exit("markab: unknown key" if any(k.split(".")[0] not in (kind, "dummy", "replication", "core") for k in settings) else 0)
signal.signal(signal.SIGTERM, signal.SIG_IGN if settings.get("dummy.deaf") == name else lambda *_: os._exit(0))
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((config["network"]["address"], int(config["network"]["port"])))
listener.listen()
if "replica" in sys.argv[0]:
    folder = os.path.join(os.path.dirname(sys.argv[0]), "nodes")
    os.makedirs(folder, exist_ok=True)
    open(os.path.join(folder, "%s:%s" % (config["network"]["address"], config["network"]["port"])), "w").close()
with open(config["core"]["log_file"], "a") as log:
    log.write("listening as %s\n" % name)
while True:
    listener.accept()[0].close()
