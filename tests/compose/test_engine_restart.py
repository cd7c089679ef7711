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
    """A dockerd with its own data, socket, network, mounts and processes: a machine that ends with its process 1."""

    def __init__(self, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder = folder
        self._log = folder / "dockerd.log"
        self._machine: subprocess.Popen[bytes] | None = None
        self._dockerd: subprocess.Popen[bytes] | None = None

    def boot(self) -> None:
        """Switches the machine on, and starts dockerd."""
        # A new network namespace has no loopback interface up; process 1 collects whatever loses its parent.
        collect = "ip link set lo up && while :; do sleep 1000 & wait; done"
        options = ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
        self._machine = subprocess.Popen(["unshare", *options, "sh", "-c", collect], stdin=subprocess.DEVNULL)
        self.start()

    def start(self) -> None:
        deadline = time.monotonic() + 60
        command = [
            "nsenter", "--target", str(self._first_process(deadline)), "--net", "--mount", "--pid",
            "dockerd", "--host", self.host, "--data-root", f"{self._folder}/data",
            "--exec-root", f"{self._folder}/exec", "--pidfile", f"{self._folder}/dockerd.pid",
        ]  # fmt: skip
        with self._log.open("ab") as log:
            self._dockerd = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        while self.docker("version").returncode:
            assert self._dockerd.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < deadline, self._log.read_text()[-3000:]
            time.sleep(0.1)

    def _first_process(self, deadline: float) -> int:
        """Process 1 of the machine, once it runs the shell: then all mounts are made."""
        assert self._machine
        children = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children")
        while not (pid := children.read_text().strip()) or Path(f"/proc/{pid}/comm").read_text() != "sh\n":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return int(pid)

    def _signal(self, number: int) -> int:
        """Sends dockerd a signal that ends it, and returns its exit code."""
        assert self._dockerd
        children = Path(f"/proc/{self._dockerd.pid}/task/{self._dockerd.pid}/children")  # nsenter has one
        os.kill(int(children.read_text()), number)
        return self._dockerd.wait(90)

    def stop(self) -> None:
        """As `systemctl stop docker` and a shutdown of the machine do it: the containers are asked to stop."""
        assert self._signal(signal.SIGTERM) == 0

    def crash(self) -> None:
        """dockerd is killed; the processes of the containers go on."""
        self._signal(signal.SIGKILL)

    def lose_power(self) -> None:
        """All processes end at once: --kill-child takes process 1 with it, and that all others."""
        assert self._machine
        self._machine.kill()
        self._machine.wait(10)
        if self._dockerd:
            self._dockerd.wait(10)
        (self._folder / "dockerd.pid").unlink(missing_ok=True)
        shutil.rmtree(self._folder / "exec", ignore_errors=True)

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
        engine.boot()
        yield engine
        engine.stop()
    finally:
        engine.lose_power()
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
    engine.boot()
    stack.until(lambda: stack.state("fastapi").health == "healthy", 60)

    assert stack.state("fastapi").started > before
    assert stack.state("mysql").status == "running"
    assert stack.probe() == "ok: database up"


@pytest.mark.prd("RESTART-09")
def test_crash_of_the_engine(engine: Engine, stack_there: Stack) -> None:
    """dockerd killed and started: it stops what it finds running, so MySQL comes back and the service ends with 0."""
    stack = stack_there
    stack.up()
    stack.compose("kill", "--signal", "HUP", "mysql")  # no wish that it stays down, either

    engine.crash()
    engine.start()
    stack.until(lambda: stack.state("mysql").health == "healthy", 90)
    fastapi = stack.state("fastapi")
    stack.up()

    assert (fastapi.status, fastapi.exit_code) == ("exited", 0)
    assert stack.probe() == "ok: database up"
