"""Runs the revisions that the database has not had, one after the other, so that a kill at any moment does no harm.

A revision is one statement, which MySQL does wholly or not at all. Before it, `schema_history` gets a row; after it,
that row and Alembic's version are written in one transaction. Whoever finds a row that is not finished asks the
revision, which looks at the schema, whether its statement has been done.
"""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import URL, Connection, NullPool, create_engine, func, inspect, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.schema import SchemaItem

import connection as mysql
import schema_lock
from boot import Boot, ShutdownRequested, StartupError
from schema import OWN, Begun, Revisions, begun, compare, history, read_version, version_table
from schema_faults import LOCK_WAIT, explain_schema_error
from settings import Settings

ID_LENGTH = 32  # characters of alembic_version.version_num


@contextmanager
def connect(settings: Settings) -> Iterator[Connection]:
    """A connection of its own, with short waits for locked tables. It is closed afterwards, and its locks go.

    Raises Unavailable or StartupError (65, 75, 77) for the errors of what is done with it, in words for a person.
    """
    read_timeout = max(settings.db_read_timeout, LOCK_WAIT + 5)  # a statement that waits for a lock is silent, not lost
    engine = create_engine(
        URL.create("mysql+pymysql", database=settings.mysql_database),
        creator=lambda: mysql.Connection(settings, settings.db_connect_timeout, read_timeout),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with engine.connect() as connection:
            connection.execute(
                text(f"SET SESSION lock_wait_timeout = {LOCK_WAIT}, SESSION innodb_lock_wait_timeout = {LOCK_WAIT}")
            )
            connection.commit()
            yield connection
    except DBAPIError as error:
        raise explain_schema_error(error, settings) from None


def read_scripts(revisions: Revisions) -> list[Script]:
    """The revisions from the first to the last. Raises StartupError with 70 where they are not one line up to HEAD."""
    directory = ScriptDirectory(str(revisions.folder))
    try:
        scripts = list(reversed(list(directory.walk_revisions())))
    except CommandError as error:
        raise StartupError(f"the files in migrations/versions contradict each other: {error}", os.EX_SOFTWARE) from None
    heads = directory.get_heads()
    if heads != [revisions.head]:
        raise StartupError(
            f"migrations/HEAD says {revisions.head}, but the last are {', '.join(heads)}: let each one follow "
            "the one before (down_revision), and HEAD name the last",
            os.EX_SOFTWARE,
        )
    for script in scripts:
        if len(script.revision) > ID_LENGTH:
            raise StartupError(f"the id {script.revision} has more than {ID_LENGTH} characters", os.EX_SOFTWARE)
    return scripts


def upgrade(settings: Settings, boot: Boot, revisions: Revisions) -> str:
    """Brings the database to HEAD, and returns a line about it.

    Raises StartupError (65, 70, 75, 77), Unavailable where the database goes away, and ShutdownRequested between two
    revisions when the process is to stop.
    """
    scripts = read_scripts(revisions)
    with connect(settings) as connection:
        schema_lock.acquire(connection, boot, settings.migrations_timeout)
        version, state = compare(connection, revisions)
        if state != "behind":  # another process has done it meanwhile
            return f"schema at {version}"
        if version is None and begun(connection) is None:
            _refuse_unknown_tables(connection, revisions)
        OWN.create_all(connection)
        _recover(connection, scripts, boot)
        version = read_version(connection)
        connection.commit()
        positions = [None, *(script.revision for script in scripts)]
        for number in range(positions.index(version) + 1, len(positions)):
            if boot.stopping.is_set():
                raise ShutdownRequested(f"stopped before revision {number} of {len(scripts)}, schema at {version}")
            script = scripts[number - 1]
            boot.report_progress(f"revision {number} of {len(scripts)}: {script.revision}")
            _run(connection, script)
            version = script.revision
        if read_version(connection) != revisions.head:
            raise StartupError("something else has changed alembic_version meanwhile", os.EX_DATAERR)
    return f"schema at {version}"


def _run(connection: Connection, script: Script) -> None:
    connection.execute(history.delete().where(history.c.revision == script.revision))
    connection.execute(history.insert().values(_row(script, "run")))
    connection.commit()
    driver: mysql.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    with Operations.context(MigrationContext.configure(connection)), driver.without_read_timeout():
        script.module.upgrade()
    _finish(connection, script, "run")


def _finish(connection: Connection, script: Script, how: str) -> None:
    """Both records of a revision that has been done, in one transaction."""
    connection.execute(version_table.delete())
    connection.execute(version_table.insert().values(version_num=script.revision))
    done = history.c.revision == script.revision
    connection.execute(history.update().where(done).values(how=how, finished_at=func.utc_timestamp(6)))
    connection.commit()


def stamp(settings: Settings, boot: Boot, revisions: Revisions, name: str) -> str:
    """Writes down that the database is at revision `name`, or at none (`base`), and runs nothing."""
    scripts = read_scripts(revisions)
    names = [script.revision for script in scripts]
    if name not in {*names, "base"}:
        raise StartupError(f"there is no revision {name}. There are: base, {', '.join(names)}", os.EX_DATAERR)
    done = scripts[: names.index(name) + 1] if name != "base" else []
    with connect(settings) as connection:
        schema_lock.acquire(connection, boot, settings.migrations_timeout)
        OWN.create_all(connection)
        finished = history.c.finished_at.is_not(None)
        kept = set(connection.scalars(select(history.c.revision).where(finished))).intersection(names[: len(done)])
        connection.execute(history.delete().where(history.c.revision.not_in(kept)))
        now = func.utc_timestamp(6)
        for script in done:
            if script.revision not in kept:
                connection.execute(history.insert().values(**_row(script, "stamped"), finished_at=now))
        connection.execute(version_table.delete())
        if done:
            connection.execute(version_table.insert().values(version_num=name))
        connection.commit()
    return f"schema at {name}, by your word"


def includes(_: SchemaItem, name: str | None, kind: str, *__: object) -> bool:
    """Alembic's include_object: what is compared with models.py, which is all but the migrations' own tables."""
    return kind != "table" or name not in OWN.tables


def _row(script: Script, how: str) -> dict[str, str]:
    return {
        "revision": script.revision,
        "oldest_code": script.module.oldest_code,
        "host": socket.gethostname()[:255],
        "how": how,
    }


def _recover(connection: Connection, scripts: list[Script], boot: Boot) -> None:
    """Decides about a revision at which a process was killed. Raises StartupError with 65 where nothing can tell."""
    found = begun(connection)
    if found is None:
        return
    script = next((script for script in scripts if script.revision == found.revision), None)
    is_applied = getattr(script and script.module, "is_applied", None)
    if script is None or is_applied is None:
        raise _undecided(found, read_version(connection))
    if is_applied(inspect(connection)):
        _finish(connection, script, "recovered")
        boot.report_progress(f"{found}, was interrupted: its statement was done")
    else:
        boot.report_progress(f"{found}, was interrupted: its statement was not done, and is run now")


def _undecided(found: Begun, version: str | None) -> StartupError:
    return StartupError(
        f"{found}, was interrupted, and this code cannot tell whether its statement was done. Compare the schema with "
        f"migrations/versions/{found.revision}.py. If it was done: python migrate.py stamp {found.revision}. If not: "
        f"python migrate.py stamp {version or 'base'}",
        os.EX_DATAERR,
    )


def _refuse_unknown_tables(connection: Connection, revisions: Revisions) -> None:
    """Tables without a version are somebody else's, or a copy that has lost it."""
    tables = sorted(set(inspect(connection).get_table_names()) - set(OWN.tables))
    if tables:
        raise StartupError(
            f"the database has tables ({', '.join(tables[:5])}{', ...' if len(tables) > 5 else ''}) but no version. If "
            f"they are what this code makes: python migrate.py stamp {revisions.head}. If they are those of an earlier "
            "revision, name that one. If they are another program's, use another database. Nothing was changed",
            os.EX_DATAERR,
        )
