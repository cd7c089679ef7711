"""Migrations that are killed or stopped, or whose server dies: what the next start finds, and what it does about it."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
import revisions
from database_server import DatabaseServer, settings_for
from revisions import Line

from boot import Boot, Stage, StartupError
from schema import Revisions
from schema_upgrade import upgrade
from settings import Settings

# Statements that no server gives up when its client is gone: they count, and look neither at a clock nor at the client.
SLOW = "CREATE TABLE slow AS SELECT BENCHMARK(%d, SHA2('x', 512)) AS n"


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return revisions.three(tmp_path / "migrations")


@pytest.fixture
def slow(server: DatabaseServer, tmp_path: Path) -> Line:
    """A revision whose statement takes about 4 s on this machine, and one after it."""
    began = time.monotonic()
    server.sql("SELECT BENCHMARK(200000, SHA2('x', 512))")
    rounds = int(200_000 * 4 / (time.monotonic() - began))
    line = Line(tmp_path / "slow")
    line.add("0001_slow", SLOW % rounds, "schema.has_table('slow')")
    line.add("0002_after", "CREATE TABLE after_it (id INT)", "schema.has_table('after_it')")
    return line


def until(what: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def running(server: DatabaseServer) -> int:
    """How many slow statements the server has under way."""
    return len(server.sql("SELECT id FROM information_schema.processlist WHERE info LIKE 'CREATE TABLE slow%'"))


@pytest.mark.prd("MIG-03")
@pytest.mark.timeout(300)
def test_a_kill_at_any_point_heals(server: DatabaseServer, line: Line) -> None:
    """SIGKILL before and after each statement and commit: the next start brings the schema to head by itself."""
    points = revisions.kill_at_each_point(settings_for(server), line.folder)

    assert any("after ALTER TABLE t ADD a INT" in point for point in points)
    assert len(points) > 20
    assert revisions.version(server) == ["0003_i"]


@pytest.mark.prd("MIG-03")
@pytest.mark.parametrize("done", [True, False])
def test_what_nobody_can_tell_is_left_to_a_person(server: DatabaseServer, tmp_path: Path, done: bool) -> None:
    """Where a revision has no `is_applied`: 65 with revision, time, host and the commands, one of which settles it."""
    settings, line = settings_for(server), Line(tmp_path / "migrations")
    line.add("0001_t", "CREATE TABLE t (id INT)", condition=None)
    with pytest.raises(RuntimeError, match="killed"):
        revisions.upgrade_until(settings, line, "after CREATE TABLE t" if done else "before CREATE TABLE t")

    with pytest.raises(StartupError) as caught:
        upgrade(settings, Boot([]), Revisions(line.folder))
    words = str(caught.value)
    command = "stamp 0001_t" if done else "stamp base"
    stamped = revisions.run(settings, line.folder, *command.split())
    upgrade(settings, Boot([]), Revisions(line.folder))

    assert caught.value.exit_code == 65
    assert "revision 0001_t, begun at 2" in words
    assert f"on host {os.uname().nodename}" in words
    assert f"python migrate.py {command}" in words
    assert stamped[0] == 0, stamped[1]
    assert revisions.history(server) == [("0001_t", "stamped" if done else "run")]


@pytest.mark.prd("MIG-03")
def test_a_kill_in_a_long_statement_starts_no_second_one(
    server: DatabaseServer, slow: Line, caplog: pytest.LogCaptureFixture
) -> None:
    """The server goes on with it and keeps the lock: the next process says who has it, waits, and finds it done."""
    settings = settings_for(server)
    stage = Stage("migrations", lambda _: upgrade(settings, boot, Revisions(slow.folder)))
    boot = Boot([stage])
    caplog.set_level("INFO", "boot")
    killed = revisions.begin(settings, slow.folder, "upgrade")
    until(lambda: running(server) == 1)
    killed.kill()
    killed.communicate()

    most = 0
    second = Thread(target=boot.run, args=([stage], None))
    second.start()
    while second.is_alive():
        most = max(most, running(server))
        second.join(0.02)

    assert boot.exit_code == 0, caplog.text
    assert most == 1
    assert "waiting for the schema lock. Connection" in caplog.text
    assert "runs revision 0001_slow, begun at 2" in caplog.text
    assert "its statement was done" in caplog.text
    assert revisions.history(server) == [("0001_slow", "recovered"), ("0002_after", "run")]


@pytest.mark.prd("MIG-04")
def test_sigterm_ends_after_the_current_revision(server: DatabaseServer, slow: Line) -> None:
    """The revision under way ends, after DB_READ_TIMEOUT too, and the next does not begin.

    The exit code is 75, so that whoever waits for the migration does not take it for done.
    """
    process = revisions.begin(settings_for(server, db_read_timeout=1), slow.folder, "upgrade")
    until(lambda: running(server) == 1)

    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 75, output
    assert "stopped before revision 2 of 2, schema at 0001_slow" in output
    assert revisions.history(server) == [("0001_slow", "run")]


@pytest.mark.prd("MIG-03")
def test_a_server_that_dies_in_a_statement(server: DatabaseServer, slow: Line) -> None:
    """The process waits until the server is back, looks at what has become of the statement, and goes on."""
    process = revisions.begin(settings_for(server), slow.folder, "upgrade")
    until(lambda: running(server) == 1)

    server.kill()
    server.start()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 0, output
    assert "trying again" in output
    assert revisions.version(server) == ["0002_after"]


def test_a_server_that_does_not_come_back(server: DatabaseServer, slow: Line, settings: Settings) -> None:
    """After DB_WAIT_TIMEOUT the exit code is 69."""
    process = revisions.begin(settings, slow.folder, "upgrade")
    until(lambda: running(server) == 1)

    server.kill()
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 69, output


@pytest.fixture
def settings(server: DatabaseServer) -> Settings:
    return settings_for(server, db_wait_timeout=5)
