"""`./run` before it starts anything: what it refuses, in a copy with stand-ins for the programs that it asks."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent


class Copy:
    """`./run` in a folder of its own, with programs in front of those of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self._bin = folder / "bin"
        self._bin.mkdir()
        for name in ("run", "prepare.sh", ".env.example"):
            shutil.copy(PROJECT / name, self.folder)
        for version in ("3.14", "3.13", "3.12", "3.11", "3"):  # the first thing that it needs: there it ends
            self.program(f"python{version}", "exit 1")

    def program(self, name: str, script: str) -> None:
        (self._bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self._bin / name).chmod(0o755)

    def begin(self, how: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["env", "--default-signal=INT", "./run", how],  # which tests in the background would hand on as ignored
            cwd=self.folder,
            env={**os.environ, "PATH": f"{self._bin}:{os.environ['PATH']}"},
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def error(self, how: str) -> str:
        with self.begin(how) as process:
            try:
                return process.communicate(timeout=20)[1]
            finally:
                process.kill()


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


@pytest.fixture
def other_run() -> Iterator[int]:
    """The pid of a process that has `run` in its command line and is not `./run`."""
    with subprocess.Popen([sys.executable, "-c", "input()", "./run", "local"], stdin=subprocess.PIPE) as process:
        yield process.pid


@pytest.mark.prd("DOC-04")
@pytest.mark.parametrize("recorded", ["{pid}\n", "{pid} 00000000-0000-0000-0000-000000000000 1\n"])
def test_pid_of_another_process(copy: Copy, other_run: int, recorded: str) -> None:
    """A pid file from before a reboot, whose number another process has by now, is no running `./run`."""
    (copy.folder / ".local").mkdir()
    (copy.folder / ".local" / "run.pid").write_text(recorded.format(pid=other_run))

    error = copy.error("local")

    assert "running already" not in error
    assert "no Python 3.11" in error


@pytest.mark.prd("DOC-04")
def test_a_second_run_is_refused(copy: Copy) -> None:
    """While one `./run local` goes on, another says its pid and ends."""
    copy.program("python3.14", "read -r line")
    with copy.begin("local") as first:
        pid_file = copy.folder / ".local" / "run.pid"
        while not (pid_file.exists() and pid_file.read_text()):
            assert first.poll() is None

        error = copy.error("local")

        assert f"./run is running already, pid {first.pid}" in error


DOCKER = """
case $* in
*Server.Version*) echo '{engine}' ;;
'compose version --short') echo '{compose}' ;;
'compose config') echo '      MYSQL_USER: root'; echo '      MYSQL_PASSWORD: x' ;;
esac
"""
ROOT = "error: MYSQL_USER=root in .env: MySQL has that account already. Take another name\n"


@pytest.mark.prd("BOX-02")
@pytest.mark.parametrize(
    ("engine", "compose", "error"),
    [
        ("24.0.7", "2.40.3", "error: Docker Engine 24.0.7 is too old: install 25 or newer, or: ./run local\n"),
        ("26.1.5+dfsg1", "v2.9.0", "error: Docker Compose v2.9.0 is too old: install 2.26 or newer, or: ./run local\n"),
        ("25.0.0", "2.26.0", ROOT),
        ("29.1.0", "v5.0.1-desktop.1", ROOT),
    ],
)
def test_what_containers_need(copy: Copy, engine: str, compose: str, error: str) -> None:
    """An old engine or Compose is one line before anything starts, and so is MYSQL_USER=root."""
    copy.program("docker", DOCKER.format(engine=engine, compose=compose))

    assert copy.error("compose") == error


@pytest.mark.prd("BOX-09")
def test_ctrl_c_while_containers_start(copy: Copy, tmp_path: Path) -> None:
    """Ctrl-C in `./run compose` stops the containers that are on their way up."""
    calls = tmp_path / "calls"
    versions = DOCKER.format(engine="26.1.5", compose="2.40.3").replace("MYSQL_USER: root", "MYSQL_USER: app")
    copy.program("docker", f"echo $* >>{calls}\n{versions}\ncase $* in 'compose up'*) exec sleep 60 ;; esac")

    with copy.begin("compose") as run:
        while not (calls.exists() and "compose up" in calls.read_text()):
            assert run.poll() is None
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does

    assert run.returncode == 130
    assert calls.read_text().splitlines()[-1] == "compose stop"
