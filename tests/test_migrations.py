"""Migrations: which revisions run, in which state of the database, and what is said where none may."""

from pathlib import Path

import pytest
import revisions
from database_server import DatabaseServer, settings_for
from process import Start
from revisions import Line

from schema import Revisions

OWN = Revisions().folder


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Three revisions: a table, a column, an index."""
    line = Line(tmp_path / "migrations")
    line.add("0001_t", "CREATE TABLE t (id INT PRIMARY KEY)", "schema.has_table('t')")
    line.add("0002_a", "ALTER TABLE t ADD a INT", "'a' in [c['name'] for c in schema.get_columns('t')]", "0001_t")
    line.add("0003_i", "CREATE INDEX i ON t (a)", "'i' in [i['name'] for i in schema.get_indexes('t')]")
    return line


def test_every_revision_runs_once(server: DatabaseServer, line: Line) -> None:
    """An empty database gets all revisions in order; a second run finds nothing to do."""
    settings = settings_for(server)

    first, second = (revisions.run(settings, line.folder, "upgrade") for _ in range(2))

    assert first[0] == 0, first[1]
    assert "revision 2 of 3: 0002_a" in first[1]
    assert second[0] == 0, second[1]
    assert "revision" not in second[1]
    assert revisions.version(server) == ["0003_i"]
    assert revisions.history(server) == [(name, "run") for name in line.names]


def test_own_revisions_and_models_agree(server: DatabaseServer) -> None:
    """After all revisions of the service the schema is what models.py says."""
    settings = settings_for(server)

    upgraded = revisions.run(settings, OWN, "upgrade")
    checked = revisions.run(settings, OWN, "check")

    assert upgraded[0] == 0, upgraded[1]
    assert checked[0] == 0, checked[1]
    assert "the same as models.py" in checked[1]


def test_tables_without_a_version_are_not_touched(server: DatabaseServer, line: Line) -> None:
    """A database that somebody else made ends with 65 and the stamp command, and stays as it is."""
    settings = settings_for(server)
    server.sql("CREATE TABLE app.t (id INT PRIMARY KEY)")

    refused = revisions.run(settings, line.folder, "upgrade")
    tables = server.sql("SHOW TABLES FROM app")
    stamped = revisions.run(settings, line.folder, "stamp", "0001_t")
    upgraded = revisions.run(settings, line.folder, "upgrade")

    assert refused[0] == 65, refused[1]
    assert "python migrate.py stamp 0003_i" in refused[1]
    assert tables == [("t",)]
    assert stamped[0] == 0, stamped[1]
    assert upgraded[0] == 0, upgraded[1]
    assert revisions.history(server) == [("0001_t", "stamped"), ("0002_a", "run"), ("0003_i", "run")]


def test_a_kill_at_any_point_heals(server: DatabaseServer, line: Line) -> None:
    """SIGKILL before and after each statement and commit: the next start brings the schema to head by itself."""
    killed, report = revisions.kill_at_each_point(settings_for(server), line.folder)

    assert killed > 20, report
    assert revisions.version(server) == ["0003_i"]


def test_own_revisions_heal_after_a_kill(server: DatabaseServer) -> None:
    """The same with the revisions of the service."""
    killed, report = revisions.kill_at_each_point(settings_for(server), OWN)

    assert killed > 10, report
    assert revisions.version(server) == [Revisions().head]


def test_service_migrates_at_its_start_and_once(start: Start, server: DatabaseServer) -> None:
    """The first start runs the revisions and says so in /health; the second runs none."""
    first = start()
    stage = next(stage for stage in first.wait_until_ok()["stages"] if stage["name"] == "migrations")
    first.terminate()

    second = start()
    second.wait_until_ok()

    assert stage["state"] == "done"
    assert stage["detail"] == f"schema at {Revisions().head}"
    assert "revision 1" not in second.log
