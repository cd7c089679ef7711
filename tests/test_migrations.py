"""Migrations: which revisions run, in which state of the database, and what is said where none may."""

import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest
import revisions
from database_server import DatabaseServer, settings_for
from process import Start
from revisions import Line

import schema_faults
import schema_lock
import schema_upgrade
from boot import Boot, StartupError
from schema import Revisions, compare
from schema_upgrade import connect
from settings import Settings

OWN = Revisions().folder


@pytest.fixture
def line(tmp_path: Path) -> Line:
    """Three revisions: a table, a column, an index."""
    return revisions.three(tmp_path / "migrations")


@pytest.fixture
def settings(server: DatabaseServer) -> Settings:
    return settings_for(server)


@pytest.fixture
def other(server: DatabaseServer) -> Iterator[pymysql.Connection]:
    """A connection of somebody else."""
    with pymysql.connect(unix_socket=str(server.socket), user="root", database="app", autocommit=True) as connection:
        yield connection


def upgrade(settings: Settings, line: Line) -> str:
    return schema_upgrade.upgrade(settings, Boot([]), Revisions(line.folder))


def refused(settings: Settings, line: Line) -> tuple[int, str]:
    """The exit code and the words with which an upgrade ends."""
    with pytest.raises(StartupError) as caught:
        upgrade(settings, line)
    return caught.value.exit_code, str(caught.value)


@pytest.mark.prd("MIG-01")
def test_every_revision_runs_once(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """The command brings an empty database through all revisions in order; a second run finds nothing to do."""
    first, second = (revisions.run(settings, line.folder, "upgrade") for _ in range(2))

    assert first[0] == 0, first[1]
    assert "revision 2 of 3: 0002_a" in first[1]
    assert second[0] == 0, second[1]
    assert "revision" not in second[1]
    assert revisions.version(server) == ["0003_i"]
    assert revisions.history(server) == [(name, "run") for name in line.names]


@pytest.mark.prd("MIG-01")
def test_status_shows_what_ran_and_what_is_next(settings: Settings, line: Line) -> None:
    """`status` names for each revision when, how long and where it ran, or that it is next."""
    upgrade(settings, line)
    line.add("0004_x", "ALTER TABLE t ADD x INT")
    line.add("0005_y", "ALTER TABLE t ADD y INT")

    code, output = revisions.run(settings, line.folder, "status")

    assert code == 0, output
    rows = [row.split(maxsplit=1) for row in output.splitlines() if row.startswith("000")]
    assert [name for name, _ in rows] == line.names
    assert all(text.startswith("run 2") and text.endswith(f"on {os.uname().nodename}") for _, text in rows[:3])
    assert [text for _, text in rows[3:]] == ["next", "later"]


@pytest.mark.prd("MIG-02")
def test_start_at_head_is_one_select(settings: Settings, line: Line) -> None:
    """Where the schema is right the stage sends one statement, takes no lock and does not import Alembic."""
    upgrade(settings, line)
    program = """
import sys
from pathlib import Path
from sqlalchemy import event
from boot import Boot
from database import Database
from health import Component, Health
from migrate import migrate
from schema import Revisions
from service import Service
from settings import read_settings

component = Component("database")
service = Service(Boot([]), Health(Boot([]), component), component, list, ())
service.settings = read_settings()
service.database = Database(service.settings, component)
event.listen(service.database.engine, "before_cursor_execute", lambda *a: print(" ".join(a[2].split())))
print(migrate(service, Revisions(Path(sys.argv[1]))))
print("alembic" in sys.modules)
"""

    done = subprocess.run(
        [sys.executable, "-c", program, str(line.folder)],
        env=revisions.environment(settings),
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines() == [
        "SELECT alembic_version.version_num FROM alembic_version",
        "schema at 0003_i",
        "False",
    ], done.stderr


@pytest.mark.prd("MIG-01")
def test_replicas_run_each_revision_once(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """Ten processes at once on an empty database: each revision runs in one of them, and all end well."""
    code, said = revisions.run_replicas(settings, line.folder, 10)

    assert code == 0, said
    assert said.count("schema at 0003_i") == 10
    assert [said.count(f"revision {number} of 3") for number in (1, 2, 3)] == [1, 1, 1]
    assert revisions.history(server) == [(name, "run") for name in line.names]


@pytest.mark.prd("MIG-05")
def test_tables_without_a_version_are_not_touched(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """A database that somebody else made ends with 65 and the stamp command; after that command an upgrade goes on."""
    server.sql("CREATE TABLE app.t (id INT PRIMARY KEY)")

    code, words = refused(settings, line)
    tables = server.sql("SHOW TABLES FROM app")
    stamped = revisions.run(settings, line.folder, "stamp", "0001_t")
    upgrade(settings, line)

    assert code == 65
    assert "python migrate.py stamp 0003_i" in words
    assert tables == [("t",)]
    assert stamped[0] == 0, stamped[1]
    assert revisions.history(server) == [("0001_t", "stamped"), ("0002_a", "run"), ("0003_i", "run")]


def test_a_revision_is_made_of_the_models(own_folder: Path, server: DatabaseServer, settings: Settings) -> None:
    """`revision NAME` writes what models.py has and the schema has not; filled in, it runs, and then both agree."""
    models, own = own_folder / "fastapi" / "models.py", own_folder / "fastapi" / "migrations"
    upgrade_own = revisions.run(settings, own, "upgrade", folder=models.parent)
    nick = "    nick: Mapped[str | None] = mapped_column(String(9))\n"
    models.write_text(models.read_text().replace("    password_hash:", nick + "    password_hash:"))

    made = revisions.run(settings, own, "revision", "Add a nick name", folder=models.parent)
    number = len(list((own / "versions").glob("0*.py")))
    file = own / "versions" / f"{number:04}_add_a_nick_name.py"
    text = file.read_text()
    upgraded = revisions.run(settings, own, "upgrade", folder=models.parent)
    checked = revisions.run(settings, own, "check", folder=models.parent)

    assert upgrade_own[0] == made[0] == 0, upgrade_own[1] + made[1]
    assert (own / "HEAD").read_text() == f"{file.stem}\n"
    assert "op.add_column(" in text
    assert "op.drop_column(" in text
    assert upgraded[0] == checked[0] == 0, upgraded[1] + checked[1]


@pytest.mark.prd("MIG-05")
def test_unknown_revision_is_not_stamped(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """`stamp` with a name that is none lists those that there are."""
    code, output = revisions.run(settings, line.folder, "stamp", "0009_z")

    assert code == 65
    assert "base, 0001_t, 0002_a, 0003_i" in output
    assert server.sql("SHOW TABLES FROM app") == []


@pytest.fixture
def old(line: Line, tmp_path: Path) -> Revisions:
    """Code that knows the first revision alone."""
    folder = tmp_path / "old"
    (folder / "versions").mkdir(parents=True)
    shutil.copy(line.folder / "versions" / "0001_t.py", folder / "versions")
    (folder / "HEAD").write_text("0001_t\n")
    return Revisions(folder)


@pytest.mark.prd("MIG-05")
def test_old_code_runs_where_the_newer_revision_allows_it(settings: Settings, line: Line, old: Revisions) -> None:
    """0002_a says that code of 0001_t may run on it."""
    line.remove_last()
    upgrade(settings, line)

    with connect(settings) as connection:
        assert compare(connection, old) == ("0002_a", "newer")


@pytest.mark.prd("MIG-05")
def test_old_code_stops_where_it_may_not_run(
    server: DatabaseServer, settings: Settings, line: Line, old: Revisions
) -> None:
    """0003_i needs code of its own: older code ends with 65, by the command and at a start, and writes nothing."""
    upgrade(settings, line)
    before = server.sql("CHECKSUM TABLE app.alembic_version, app.schema_history")

    code, output = revisions.run(settings, old.folder, "upgrade")

    assert code == 65
    assert "the schema is at revision 0003_i, which this code does not know" in output
    assert "needs code of 0003_i" in output
    assert server.sql("CHECKSUM TABLE app.alembic_version, app.schema_history") == before


@pytest.mark.prd("MIG-05")
def test_versions_of_somebody_else_are_not_trusted(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """A version that is in no history, and several versions, end with 65."""
    server.sql("CREATE TABLE app.alembic_version (version_num VARCHAR(32))")
    server.sql("INSERT INTO app.alembic_version VALUES ('ae1027a6acf')")
    unknown = refused(settings, line)
    server.sql("INSERT INTO app.alembic_version VALUES ('0001_t')")

    several = refused(settings, line)

    assert unknown[0] == several[0] == 65
    assert "ae1027a6acf" in unknown[1]
    assert "names 2 revisions (0001_t, ae1027a6acf)" in several[1]


def test_two_heads_and_long_ids_are_found_before_anything_runs(
    server: DatabaseServer, settings: Settings, line: Line
) -> None:
    """Mistakes in the files end with 70 and leave the database alone."""
    branch = line.folder / "versions" / "0003_j.py"
    branch.write_text((line.folder / "versions" / "0003_i.py").read_text().replace("0003_i", "0003_j"))
    two_heads = refused(settings, line)
    branch.unlink()
    line.add("0004_" + "x" * 28, "SELECT 1")

    long_id = refused(settings, line)

    assert two_heads[0] == long_id[0] == 70
    assert "0003_i, 0003_j" in two_heads[1]
    assert "more than 32 characters" in long_id[1]
    assert server.sql("SHOW TABLES FROM app") == []


@pytest.mark.prd("MIG-07")
def test_missing_grant_is_named(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """An account without DDL rights ends with 77 and the GRANT that it lacks."""
    server.sql("REVOKE ALL ON app.* FROM app@'%'", "GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app@'%'")

    code, words = refused(settings, line)

    assert code == 77
    assert "GRANT ALL ON `app`.* TO 'app'@'%'" in words


def test_statement_that_fails_names_error_and_place(server: DatabaseServer, settings: Settings, line: Line) -> None:
    """A revision that the database refuses ends with 65 and MySQL's error, without a row's content."""
    upgrade(settings, line)
    server.sql("INSERT INTO app.t (id, a) VALUES (1, 4711), (2, 4711)")
    line.add("0004_u", "CREATE UNIQUE INDEX u ON t (a)")

    code, words = refused(settings, line)
    server.sql("UPDATE app.t SET a = id")

    assert code == 65
    assert "1062 (DUP_ENTRY)" in words
    assert "4711" not in words
    assert upgrade(settings, line) == "schema at 0004_u"


@pytest.mark.prd("MIG-06")
def test_lock_of_another_is_respected(settings: Settings, line: Line, other: pymysql.Connection) -> None:
    """Where GET_LOCK answers 0 nothing runs: 75 after MIGRATIONS_TIMEOUT, with the connection that has the lock."""
    with other.cursor() as cursor:
        cursor.execute(f"SELECT GET_LOCK({schema_lock.NAME}, 0), CONNECTION_ID()")
        _, holder = cursor.fetchall()[0]

    code, words = refused(settings.model_copy(update={"migrations_timeout": 1.0}), line)
    with other.cursor() as cursor:
        cursor.execute("SHOW TABLES")
        tables = cursor.fetchall()

    assert code == 75
    assert f"Connection {holder}" in words
    assert tables == ()


@pytest.mark.prd("MIG-06")
def test_a_short_read_timeout_does_not_end_the_wait_for_the_lock(
    settings: Settings, line: Line, other: pymysql.Connection
) -> None:
    """The answer to GET_LOCK comes only after a second: a DB_READ_TIMEOUT below that makes no 69 of the 75."""
    with other.cursor() as cursor:
        cursor.execute(f"SELECT GET_LOCK({schema_lock.NAME}, 0)")

    code, words = refused(settings.model_copy(update={"migrations_timeout": 1.5, "db_read_timeout": 0.5}), line)

    assert code == 75
    assert "MIGRATIONS_TIMEOUT=1.5" in words


@pytest.mark.prd("MIG-06")
def test_null_is_no_lock(settings: Settings, line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where GET_LOCK answers NULL nothing runs either."""
    monkeypatch.setattr(schema_lock, "NAME", "NULL")

    code, words = refused(settings, line)

    assert code == 75
    assert "GET_LOCK is NULL" in words


@pytest.mark.prd("MIG-06")
def test_open_transaction_in_the_way(
    settings: Settings, line: Line, other: pymysql.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that has read the table keeps it from being altered: 75 after LOCK_WAIT, and later it goes on."""
    monkeypatch.setattr(schema_upgrade, "LOCK_WAIT", 1)
    line.remove_last()
    line.remove_last()
    upgrade(settings, line)
    line = revisions.three(line.folder.parent / "again")
    other.begin()
    with other.cursor() as cursor:
        cursor.execute("SELECT * FROM t")

    code, words = refused(settings, line)
    other.rollback()

    assert code == 75
    assert "a transaction that stays open" in words
    assert upgrade(settings, line) == "schema at 0003_i"


def test_loggers_are_left_alone(settings: Settings, line: Line) -> None:
    """Migrating neither disables a logger nor adds a handler."""
    bystander = logging.getLogger("a.bystander")
    handlers, level = list(logging.root.handlers), logging.root.level

    upgrade(settings, line)

    assert not bystander.disabled
    assert (logging.root.handlers, logging.root.level) == (handlers, level)


@pytest.mark.prd("MIG-01")
def test_service_migrates_at_its_start_and_once(start: Start, server: DatabaseServer) -> None:
    """The first start runs the revisions and says so in /health; the second runs none."""
    first = start()
    stage = next(stage for stage in first.wait_until_ok()["stages"] if stage["name"] == "migrations")
    first.terminate()

    second = start()
    second.wait_until_ok()

    assert stage["state"] == "done"
    assert stage["detail"] == f"schema at {Revisions().head}"
    assert "revision 1 of" in first.log
    assert "revision 1 of" not in second.log


@pytest.mark.prd("MIG-07")
def test_migrations_off(start: Start, server: DatabaseServer) -> None:
    """MIGRATIONS=off skips the stage: nobody looks at the tables."""
    service = start(MIGRATIONS="off")
    stage = next(stage for stage in service.wait_until_ok()["stages"] if stage["name"] == "migrations")

    assert (stage["state"], stage["detail"]) == ("skipped", "MIGRATIONS is off")
    assert server.sql("SHOW TABLES FROM app") == []


@pytest.mark.prd("MIG-07")
def test_service_waits_for_another_account_to_migrate(start: Start, server: DatabaseServer, settings: Settings) -> None:
    """MIGRATIONS=wait needs no DDL rights: the service is ready as soon as another account has run the command."""
    server.sql("CREATE USER app_rows@'%' IDENTIFIED BY 'another secret'")
    server.sql("GRANT SELECT, INSERT, UPDATE, DELETE ON app.* TO app_rows@'%'")
    service = start(MYSQL_USER="app_rows", MYSQL_PASSWORD="another secret", MIGRATIONS="wait")
    service.wait_for_log(f"migrations: waiting: schema at no revision, not yet {Revisions().head}")

    code, output = revisions.run(settings, OWN, "upgrade")

    assert code == 0, output
    service.wait_until_ok()


@pytest.mark.prd("MIG-07")
def test_service_that_waits_too_long_ends_with_75(start: Start) -> None:
    """MIGRATIONS=wait has an end, and says who is waited for."""
    service = start(MIGRATIONS="wait", MIGRATIONS_TIMEOUT=0.5)

    assert service.exit_code() == 75
    assert "python migrate.py upgrade" in service.log


@pytest.mark.prd("MIG-06")
def test_idle_wait_is_the_documented_one() -> None:
    """Nobody waits longer than 10 s for a table because of a migration."""
    assert schema_faults.LOCK_WAIT == 10
