"""The commands of migrate.py. What goes wrong is logged as at a start of the service, with the same exit codes."""

import argparse
import os
import re
import sys
from collections.abc import Callable
from typing import Any

from alembic import command as alembic
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import select

import models
from boot import Stage, StartupError
from command import run_command
from schema import Revisions, begun, compare, history, read_version
from schema_upgrade import connect, includes, read_scripts, stamp, upgrade
from service import Service
from wait import keep_trying


def run_upgrade(service: Service, revisions: Revisions, _: str) -> str:
    """Runs what is missing."""
    settings, boot = service.settings, service.boot
    return keep_trying(lambda: upgrade(settings, boot, revisions), boot, settings.db_wait_timeout)


def run_stamp(service: Service, revisions: Revisions, name: str) -> str:
    """Writes down a revision."""
    return stamp(service.settings, service.boot, revisions, name)


def show_status(service: Service, revisions: Revisions, _: str) -> str:
    """Prints a line a revision, in the order in which they run."""
    scripts = read_scripts(revisions)
    with connect(service.settings) as connection:
        version, interrupted = read_version(connection), begun(connection)
        rows = {row.revision: row for row in connection.execute(select(history))} if version or interrupted else {}
    names = [script.revision for script in scripts]
    done = names.index(version) + 1 if version in names else 0
    for number, script in enumerate(scripts, 1):
        row = rows.get(script.revision)
        if interrupted and script.revision == interrupted.revision:
            state = f"begun {interrupted.started_at:%Y-%m-%d %H:%M:%S}Z on {interrupted.host}, not finished"
        elif number > done:
            state = "next" if number == done + 1 else "later"
        elif row is None:
            state = "done, not by these migrations"
        else:
            seconds = (row.finished_at - row.started_at).total_seconds()
            state = f"{row.how} {row.started_at:%Y-%m-%d %H:%M:%S}Z, {seconds:.1f} s, on {row.host}"
        print(f"{script.revision:32}  {state}")
    newer = "" if version in names or version is None else ", which this code does not know"
    return f"schema at {version or 'no revision'}{newer}, this code at {revisions.head}"


def check(service: Service, revisions: Revisions, _: str) -> str:
    """Compares the schema with HEAD and with models.py. Raises StartupError with 65 or 75."""
    with connect(service.settings) as connection:
        version, state = compare(connection, revisions)
        if state == "behind":
            text = f"the schema is at {version or 'no revision'}, not {revisions.head}: python migrate.py upgrade"
            raise StartupError(text, os.EX_TEMPFAIL)
        if state == "newer":
            return f"schema at {version}, newer than this code, which may run on it"
        context = MigrationContext.configure(connection, opts={"include_object": includes})
        differences = compare_metadata(context, models.Base.metadata)
    if differences:
        lines = "\n  ".join(_in_words(difference) for difference in differences)
        raise StartupError(f"the schema and models.py differ. To get what models.py says:\n  {lines}", os.EX_DATAERR)
    return f"schema at {version}, the same as models.py"


def make_revision(service: Service, revisions: Revisions, name: str) -> str:
    """Writes a new revision: the difference between models.py and the schema."""
    scripts = read_scripts(revisions)
    identifier = f"{len(scripts) + 1:04}_{re.sub(r'[^a-z0-9]+', '_', name.lower()).strip('_')}"[:32]
    config = Config()
    config.set_main_option("script_location", str(revisions.folder).replace("%", "%%"))
    config.set_main_option("file_template", "%%(rev)s")
    with connect(service.settings) as connection:
        if read_version(connection) != revisions.head:
            raise StartupError("the schema is not at the newest revision: python migrate.py upgrade", os.EX_TEMPFAIL)
        config.attributes["connection"] = connection
        alembic.revision(config, name, autogenerate=True, rev_id=identifier)
    (revisions.folder / "HEAD").write_text(f"{identifier}\n", "utf-8")
    return f"migrations/versions/{identifier}.py: look it through, and say in is_applied how to see that it was done"


def _in_words(difference: Any) -> str:
    parts = difference[0] if isinstance(difference, list) else difference
    return " ".join(
        str(getattr(part, "name", part)) for part in parts if part is not None and not isinstance(part, dict)
    )


COMMANDS: dict[str, Callable[[Service, Revisions, str], str]] = {
    "upgrade": run_upgrade,
    "status": show_status,
    "check": check,
    "stamp": run_stamp,
    "revision": make_revision,
}


def main(usage: str, arguments: list[str] | None = None, revisions: Revisions | None = None) -> None:
    """Runs one command and ends the process with its exit code."""
    parser = argparse.ArgumentParser("migrate.py", usage=usage)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("argument", nargs="?", default="")
    options = parser.parse_args(arguments)
    if (options.command in {"stamp", "revision"}) != bool(options.argument):
        parser.error(f"{options.command} takes {'no' if options.argument else 'an'} argument")
    run, known = COMMANDS[options.command], revisions or Revisions()
    step = Stage(options.command, lambda service: run(service, known, options.argument), grace=60)
    sys.exit(run_command(step))
