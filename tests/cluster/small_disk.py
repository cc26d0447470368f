"""Disks that a test may fill: small file systems in memory, below folders of its own."""
import os
import subprocess


def mount(folder, mib):
    """Why it could not be mounted; "" when it was."""
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm" % mib, "markab-test", folder],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return "" if done.returncode == 0 else done.stdout.strip() or "mount ended with %d" % done.returncode


def unmount(folders):
    for folder in folders:
        subprocess.run(["umount", "-l", folder], check=False)


def fill(folder):
    """To the last byte; the path of the file that did it."""
    path = os.path.join(folder, "filler")
    with open(path, "wb", buffering=0) as out:
        chunk = b"x" * (1 << 20)
        while chunk:
            try:
                out.write(chunk)
            except OSError:
                chunk = chunk[:len(chunk) // 2]
    return path
