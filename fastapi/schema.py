"""The schema: which revision the database is at, and whether this code may run on it.

A start whose schema is right needs this module alone: one SELECT, no lock, no Alembic.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Column, Connection, Executable, MetaData, Row, String, Table, func, select
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.exc import ProgrammingError

from boot import StartupError
from driver import ER
from mysql_faults import error_number

OWN = MetaData()  # the tables that the migrations keep for themselves
version_table = Table("alembic_version", OWN, Column("version_num", String(32), primary_key=True))
# What each revision did to this database, one row each. `finished_at` is NULL until the version is written, too:
# what is found so after its process was killed may have been done or not.
history = Table(
    "schema_history",
    OWN,
    Column("revision", String(32), primary_key=True),
    Column("oldest_code", String(32), nullable=False),  # code whose head is this revision or a later one may run
    Column("host", String(255), nullable=False),
    Column("how", String(10), nullable=False),  # run, recovered (found done after a kill) or stamped
    Column("started_at", DATETIME(fsp=6), nullable=False, server_default=func.utc_timestamp(6)),
    Column("finished_at", DATETIME(fsp=6)),
)

State = Literal["at head", "newer", "behind"]


class Revisions:
    """The revisions that this code knows. `HEAD` is a file, so that two branches with a new one each conflict."""

    def __init__(self, folder: Path = Path(__file__).parent / "migrations") -> None:
        self.folder = folder

    @cached_property
    def head(self) -> str:
        return (self.folder / "HEAD").read_text("utf-8").strip()

    @cached_property
    def known(self) -> set[str]:
        return {path.stem for path in (self.folder / "versions").glob("[0-9]*.py")}


@dataclass(frozen=True)
class Begun:
    """A revision that was begun and of which nobody has written that it was done."""

    revision: str
    host: str
    started_at: datetime

    def __str__(self) -> str:
        return f"revision {self.revision}, begun at {self.started_at:%Y-%m-%d %H:%M:%S}Z on host {self.host}"


def _rows(connection: Connection, statement: Executable) -> Sequence[Row[Any]]:
    """What the statement finds; nothing where its table does not exist."""
    try:
        return connection.execute(statement).all()
    except ProgrammingError as error:
        if error_number(error.orig) != ER.NO_SUCH_TABLE:
            raise
        return []


def read_version(connection: Connection) -> str | None:
    """The revision of the database, or None where none has run. Raises StartupError with 65 where there are several."""
    versions = [row.version_num for row in _rows(connection, select(version_table.c.version_num))]
    if len(versions) > 1:
        raise StartupError(
            f"the table alembic_version names {len(versions)} revisions ({', '.join(sorted(versions))}), but this "
            "service has one line of them: leave the right one there",
            os.EX_DATAERR,
        )
    return versions[0] if versions else None


def compare(connection: Connection, revisions: Revisions) -> tuple[str | None, State]:
    """The database's revision, and how it stands to this code. Writes nothing.

    Raises StartupError with 65 where a newer schema does not say that this code may run on it.
    """
    version = read_version(connection)
    if version == revisions.head:
        return version, "at head"
    if version is None or version in revisions.known:
        return version, "behind"
    oldest_code = _oldest_code_of_unknown(connection, revisions)
    if version in oldest_code and revisions.known.issuperset(oldest_code.values()):
        return version, "newer"
    needed = max(oldest_code.values(), default="a revision that is not in its history")
    raise StartupError(
        f"the schema is at revision {version}, which this code does not know: its newest is {revisions.head}, and that "
        f"schema needs code of {needed} or later. Run newer code. Nothing was changed",
        os.EX_DATAERR,
    )


def _oldest_code_of_unknown(connection: Connection, revisions: Revisions) -> dict[str, str]:
    """The revisions in the history that this code does not know, each with the oldest code that may run on it."""
    rows = _rows(connection, select(history.c.revision, history.c.oldest_code))
    return {row.revision: row.oldest_code for row in rows if row.revision not in revisions.known}


def begun(connection: Connection) -> Begun | None:
    """The revision that is being run now, or at which a process was killed."""
    columns = history.c.revision, history.c.host, history.c.started_at
    rows = _rows(connection, select(*columns).where(history.c.finished_at.is_(None)))
    return Begun(rows[0].revision, rows[0].host, rows[0].started_at) if rows else None
