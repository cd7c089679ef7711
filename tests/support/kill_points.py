"""A program: migrates an empty database, killed at the first point, then at the second, and so on, each time again.

    python kill_points.py FOLDER

A point is the moment before or after a statement or a commit. After each kill a start without one must reach the head.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from itertools import count
from pathlib import Path

from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from boot import Boot
from schema import Revisions, begun, read_version
from schema_upgrade import connect, upgrade
from settings import read_settings

SETTINGS = read_settings()
REVISIONS = Revisions(Path(sys.argv[1]))


def in_child(work: Callable[[], object]) -> int:
    """Runs `work` in a process of its own. Returns minus the signal that ended it, or its exit code."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException:  # noqa: BLE001  the code must not go on in the child, whatever happens
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def migrate(kill_at: int = 0) -> None:
    """Migrates. The process ends at point `kill_at` by SIGKILL; at none with 0."""
    points = count(1)
    last = ""

    def reach(name: str) -> None:
        if next(points) == kill_at:
            print(kill_at, name, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

    def before(*arguments: object) -> None:
        nonlocal last
        last = " ".join(str(arguments[2]).split())[:70]
        reach(f"before {last}")

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", lambda *_: reach(f"after {last}"))
    event.listen(Engine, "commit", lambda _: reach("before COMMIT"))
    upgrade(SETTINGS, Boot([]), REVISIONS)


def empty() -> None:
    """Makes the database as if nothing had been there."""
    with connect(SETTINGS) as connection:
        connection.execute(text("DROP DATABASE app"))
        connection.execute(text("CREATE DATABASE app"))


def is_at_head() -> bool:
    """Whether both records say so."""
    with connect(SETTINGS) as connection:
        return read_version(connection) == REVISIONS.head and begun(connection) is None


for point in count(1):
    empty()
    if in_child(lambda: migrate(point)) != -signal.SIGKILL:  # noqa: B023  it runs at once
        sys.exit(0 if is_at_head() else "it failed without a kill")
    if in_child(migrate) or not is_at_head():
        sys.exit(f"point {point} does not heal")
