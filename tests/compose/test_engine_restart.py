"""The engine itself stops and starts, as when the machine does: an engine of the test's own, in a network of its own.

The engine that the other tests use, and that others may use too, is left alone. This needs root and `dockerd`.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]


class Engine:
    """A dockerd with its own data, socket, network and mounts; it ends with its processes."""

    def __init__(self, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder = folder
        self._log = folder / "dockerd.log"
        # A new network namespace has no loopback interface up. dockerd is process 1 of all that it starts.
        self._command = [
            "unshare", "--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child",
            "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
            "dockerd", "--host", self.host, "--data-root", f"{folder}/data", "--exec-root", f"{folder}/exec",
            "--pidfile", f"{folder}/dockerd.pid",
        ]  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while self.docker("version").returncode:
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.1)

    def stop(self) -> None:
        """As `systemctl stop docker` and a shutdown of the machine do it: the containers are asked to stop."""
        if self._process and self._process.poll() is None:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
            os.kill(int(children.read_text()), signal.SIGTERM)
            assert self._process.wait(90) == 0

    def lose_power(self) -> None:
        """All processes end at once; --kill-child takes dockerd with it, and that, process 1, all others."""
        assert self._process
        self._process.kill()
        self._process.wait(10)
        (self._folder / "dockerd.pid").unlink()
        shutil.rmtree(self._folder / "exec")

    def docker(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["docker", "--host", self.host, *arguments], capture_output=True, text=True, timeout=120)

    def load(self, *images: str) -> None:
        save = subprocess.Popen(["docker", "save", *images], stdout=subprocess.PIPE)
        with save:
            subprocess.run(["docker", "--host", self.host, "load"], stdin=save.stdout, check=True, timeout=120)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    missing = [tool for tool in ("dockerd", "unshare", "ip", "iptables") if not shutil.which(tool)]
    if missing or os.geteuid() != 0:
        pytest.fail(f"an engine of its own needs root and dockerd; missing: {missing or 'root'}", pytrace=False)
    folder = tmp_path_factory.mktemp("engine")
    engine = Engine(folder)
    try:
        engine.start()
        yield engine
    finally:
        engine.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def stack_there(engine: Engine, image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The project on that engine; it goes with the engine."""
    engine.load(image, "mysql:9.7")
    return Stack(tmp_path_factory.mktemp("there") / "project", f"{run_name}-there", image, {}, engine.host)


@pytest.mark.prd("RESTART-09")
def test_engine_restart(engine: Engine, stack_there: Stack) -> None:
    """Stopped in order: MySQL comes back by itself, the service does not, for it ended with 0; `up` brings it back."""
    stack = stack_there
    stack.up()
    stack.sql("CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('kept')")

    engine.stop()
    engine.start()
    stack.until(lambda: stack.state("mysql").health == "healthy")
    mysql, fastapi = stack.state("mysql"), stack.state("fastapi")
    stack.up()

    assert mysql.status == "running"
    assert (fastapi.status, fastapi.exit_code) == ("exited", 0)
    assert stack.probe() == "ok: database up"
    assert stack.sql("SELECT word FROM kept") == "kept"


@pytest.mark.prd("RESTART-09")
def test_power_loss(engine: Engine, stack_there: Stack) -> None:
    """All processes gone at once, which is a failure: both come back by themselves, in any order."""
    stack = stack_there
    stack.up()
    before = stack.state("fastapi").started

    engine.lose_power()
    engine.start()
    stack.until(lambda: stack.state("fastapi").health == "healthy", 60)

    assert stack.state("fastapi").started > before
    assert stack.state("mysql").status == "running"
    assert stack.probe() == "ok: database up"
