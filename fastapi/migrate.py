"""Migrations: the stage of the start, and the command.

    python migrate.py upgrade            runs what is missing, as MIGRATIONS=run does at a start
    python migrate.py status             the revisions: which ran when, for how long, on which host, and what is next
    python migrate.py check              whether the schema is at the newest revision and agrees with models.py
    python migrate.py stamp REVISION     only writes down that the database is at that revision
    python migrate.py revision NAME      for developers: a new revision of what models.py has and the schema has not

Exit codes: 0; 65 a person has to decide; 69, 77, 78 as the service; 70 a mistake in the revisions; 75 try again.
"""

import os
import time

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from boot import ShutdownRequested, Skip, StartupError
from schema import Revisions, State, compare
from schema_faults import explain_schema_error
from service import Service
from settings import Settings
from wait import keep_trying

POLL_EVERY = 1.0  # seconds, where MIGRATIONS=wait


def migrate(service: Service, revisions: Revisions | None = None) -> str:
    """The stage. Raises Skip, StartupError (65, 69, 70, 75, 77) and ShutdownRequested."""
    settings, boot, revisions = service.settings, service.boot, revisions or Revisions()
    if settings.migrations == "off":
        raise Skip("MIGRATIONS is off")

    def step() -> str:
        version, state = look(service.database.engine, settings, revisions)
        if state == "behind" and settings.migrations == "wait":
            version, state = _wait_for_head(service, revisions)
        if state == "behind":
            from schema_upgrade import upgrade  # imports Alembic, which a start at head does without

            line = upgrade(settings, boot, revisions)
            service.schema_revision = revisions.head
            return line
        service.schema_revision = version
        newer = f", newer than this code ({revisions.head}), which may run on it" if state == "newer" else ""
        return f"schema at {version}{newer}"

    return keep_trying(step, boot, settings.db_wait_timeout)


def look(engine: Engine, settings: Settings, revisions: Revisions) -> tuple[str | None, State]:
    """The database's revision, and how it stands to this code. Raises Unavailable, or StartupError with 65 or 77."""
    try:
        with engine.connect() as connection:
            return compare(connection, revisions)
    except DBAPIError as error:
        raise explain_schema_error(error, settings) from None


def _wait_for_head(service: Service, revisions: Revisions) -> tuple[str | None, State]:
    settings = service.settings
    ends_at = time.monotonic() + settings.migrations_timeout
    version, state = look(service.database.engine, settings, revisions)
    service.boot.report_progress(f"waiting: schema at {version or 'no revision'}, not yet {revisions.head}")
    while state == "behind":
        if time.monotonic() >= ends_at:
            raise StartupError(
                f"the schema is still at {version or 'no revision'}, not {revisions.head}, after MIGRATIONS_TIMEOUT="
                f"{settings.migrations_timeout:g} s. MIGRATIONS=wait leaves it to: python migrate.py upgrade",
                os.EX_TEMPFAIL,
            )
        if service.boot.stopping.wait(POLL_EVERY):
            raise ShutdownRequested("stopped while waiting for another process to migrate")
        version, state = look(service.database.engine, settings, revisions)
    return version, state


if __name__ == "__main__":
    from migrate_command import main

    main(__doc__ or "")
