"""Migrations for tests: folders of revisions, and programs that run them in a process of their own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from database_server import DatabaseServer
from sqlalchemy import Engine, event

from boot import Boot
from schema import Revisions
from schema_upgrade import upgrade
from settings import Settings

FASTAPI = Path(__file__).parent.parent.parent / "fastapi"

REVISION = '''"""{name}."""

import time

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Inspector

revision = "{name}"
down_revision = {down!r}
oldest_code = {oldest_code!r}


def upgrade() -> None:
    op.execute({statement!r})


{is_applied}
'''
APPLIED = """def is_applied(schema: Inspector) -> bool:
    return {condition}
"""


class Line:
    """A line of revisions in a folder, which grows by `add`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: list[str] = []
        (folder / "versions").mkdir(parents=True)

    def add(self, name: str, statement: str, condition: str | None = "False", oldest_code: str | None = None) -> None:
        """One more revision. `condition` says, of the inspector `schema`, whether it was done; None: nothing can."""
        down = self.names[-1] if self.names else None
        is_applied = APPLIED.format(condition=condition) if condition else ""
        text = REVISION.format(
            name=name, down=down, statement=statement, is_applied=is_applied, oldest_code=oldest_code or name
        )
        (self.folder / "versions" / f"{name}.py").write_text(text)
        (self.folder / "HEAD").write_text(name + "\n")
        self.names.append(name)

    def remove_last(self) -> None:
        """As if the last revision had not been written yet."""
        (self.folder / "versions" / f"{self.names.pop()}.py").unlink()
        (self.folder / "HEAD").write_text(self.names[-1] + "\n")


def three(folder: Path) -> Line:
    """A table, a column, an index; the one with the column may be used by code of the first."""
    line = Line(folder)
    line.add("0001_t", "CREATE TABLE t (id INT PRIMARY KEY)", "schema.has_table('t')")
    line.add("0002_a", "ALTER TABLE t ADD a INT", "'a' in [c['name'] for c in schema.get_columns('t')]", "0001_t")
    line.add("0003_i", "CREATE INDEX i ON t (a)", "'i' in [i['name'] for i in schema.get_indexes('t')]")
    return line


def environment(settings: Settings) -> dict[str, str]:
    """What a process of the service needs for these settings."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(FASTAPI),
        "MYSQL_HOST": settings.mysql_host,
        "MYSQL_PORT": str(settings.mysql_port),
        "MYSQL_DATABASE": settings.mysql_database,
        "MYSQL_USER": settings.mysql_user,
        "MYSQL_PASSWORD": settings.password.decode(),
        "DB_WAIT_TIMEOUT": str(settings.db_wait_timeout),
        "DB_READ_TIMEOUT": str(settings.db_read_timeout),
        "MIGRATIONS_TIMEOUT": str(settings.migrations_timeout),
    }


COMMAND = """
import sys
from pathlib import Path
from migrate_command import main
from schema import Revisions
main("", sys.argv[2:], Revisions(Path(sys.argv[1])))
"""


def begin(settings: Settings, line: Path, *arguments: str, folder: Path = FASTAPI) -> subprocess.Popen[str]:
    """`migrate.py ...` of the service in `folder` with revisions of the test, in a process that goes on beside it.

    Its output is one stream.
    """
    return subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(line), *arguments],
        env=environment(settings) | {"PYTHONPATH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run(settings: Settings, line: Path, *arguments: str, folder: Path = FASTAPI) -> tuple[int, str]:
    """The exit code and the output of `migrate.py ...`."""
    process = begin(settings, line, *arguments, folder=folder)
    output, _ = process.communicate(timeout=60)
    return process.returncode, output


REPLICAS = """
import os, sys
from pathlib import Path
from boot import Boot, Stage
from schema import Revisions
from schema_upgrade import upgrade
from settings import read_settings
from logs import configure_logging

def work(_):
    return upgrade(read_settings(), boot, Revisions(Path(sys.argv[1])))

configure_logging("INFO", "text")
children = []
for _ in range(int(sys.argv[2])):
    stage = Stage("migrations", work)
    boot = Boot([stage])
    child = os.fork()
    if child == 0:
        boot.run([stage], None)
        os._exit(boot.exit_code)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def run_replicas(settings: Settings, line: Path, number: int) -> tuple[int, str]:
    """So many processes that upgrade at once: the highest exit code, and the output of all."""
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS, str(line), str(number)],
        env=environment(settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    return done.returncode, done.stdout


def history(server: DatabaseServer) -> list[tuple[str, str]]:
    """Which revision was done, and how, in order."""
    return [
        (revision, how)
        for revision, how in server.sql(
            "SELECT revision, how FROM app.schema_history WHERE finished_at IS NOT NULL ORDER BY revision"
        )
    ]


def version(server: DatabaseServer) -> list[str]:
    return [row[0] for row in server.sql("SELECT version_num FROM app.alembic_version")]


def kill_at_each_point(settings: Settings, folder: Path) -> list[str]:
    """Runs `kill_points.py`: the points at which it killed and after which the next start healed, which is all."""
    program = Path(__file__).with_name("kill_points.py")
    done = subprocess.run(
        [sys.executable, str(program), str(folder)],
        env=environment(settings),
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def upgrade_until(settings: Settings, line: Line, point: str) -> None:
    """Upgrades and breaks off `before` or `after` a statement that begins so, as a kill would."""
    when, statement = point.split(maxsplit=1)

    def break_off(*arguments: Any) -> None:
        if arguments[2].startswith(statement):
            raise RuntimeError("killed")

    event.listen(Engine, f"{when}_cursor_execute", break_off)
    try:
        upgrade(settings, Boot([]), Revisions(line.folder))
    finally:
        event.remove(Engine, f"{when}_cursor_execute", break_off)
