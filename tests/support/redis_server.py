"""A real Redis of the tests' own."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

from ports import free_port
from redis import Redis
from redis.exceptions import RedisError


class RedisServer:
    """A redis-server on a port and in a folder of its own, with a password."""

    password = "R3dis:@/#?%"

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        self.port = free_port()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """As in REDIS_URL: of the password only the % is written otherwise."""
        return f"redis://:{self.password.replace('%', '%25')}@127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--requirepass", self.password]
        own = ["--dir", str(self.folder), "--save", "", "--daemonize", "no", *self._options]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen([_program(self.folder), *options, *own], stdout=log, stderr=log)
        deadline = time.monotonic() + 20
        while not self._answers():
            assert self._process.poll() is None, (self.folder / "redis.log").read_text()[-2000:]
            assert time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.01)

    def client(self) -> Redis:
        return Redis(port=self.port, password=self.password, decode_responses=True)

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait(10)

    def freeze(self) -> None:
        """Stops it where it stands: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except RedisError:
                return False


def _program(folder: Path) -> str:
    """redis-server. Debian's package redis-tools has it under another name, without the system service."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    other = shutil.which("redis-check-rdb")
    if not other:
        raise FileNotFoundError("redis-server is not installed: apt-get install redis-tools")
    link = folder / "redis-server"
    if not link.exists():
        link.symlink_to(other)
    return str(link)
