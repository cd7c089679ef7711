"""A network and a port 8000 for one reader at a time: the documents use that port."""

import fcntl
import os
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PORT = 8000


def in_own_network(command: list[str]) -> list[str]:
    """The command in a network and with pids of its own, where the machine allows that: its port 8000 is free."""
    user = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *user]
    try:
        allowed = subprocess.run([*alone, "true"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        allowed = False
    return [*alone, *command, "--alone"] if allowed else command


def bring_up_loopback() -> None:
    with socket.socket() as anything, suppress(OSError):
        fcntl.ioctl(anything, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


@contextmanager
def port_8000(alone: bool) -> Iterator[None]:
    """One reader at a time, unless it is alone in its network. Raises SystemExit when another program has the port."""
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    with socket.socket() as trial:
        if not alone:
            fcntl.flock(folder, fcntl.LOCK_EX)
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", PORT))
        except OSError:
            sys.exit(f"port {PORT}, which the documents use, is taken: end the program that has it")
        trial.close()
        yield
    os.close(folder)
