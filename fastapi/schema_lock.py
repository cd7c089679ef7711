"""The lock that lets one process at a time change the schema."""

import logging
import os
import time

from sqlalchemy import Connection, text

from boot import Boot, ShutdownRequested, StartupError
from schema import begun

# Names of locks are shared by all databases of a server, and may have 64 characters.
NAME = "CONCAT('schema ', LEFT(SHA2(DATABASE(), 256), 40))"
LOG_EVERY = 10.0  # seconds between two log lines that say the same


def acquire(connection: Connection, boot: Boot, timeout: float) -> None:
    """Takes the lock, or waits for it. It lasts as long as the connection does.

    It must be the connection that changes the schema: when this process is killed, the server goes on with its
    statement and keeps the lock for just as long.

    Raises StartupError with 75 after `timeout` seconds, ShutdownRequested when the process is to stop.
    """
    ends_at = time.monotonic() + timeout
    last_logged, last_holder = 0.0, ""
    seconds = 0
    while not _try(connection, seconds):
        if boot.stopping.is_set():
            raise ShutdownRequested("stopped while waiting for the schema lock")
        now, holder = time.monotonic(), _holder(connection)
        if now >= ends_at:
            raise StartupError(
                f"the schema lock did not come free within MIGRATIONS_TIMEOUT={timeout:g} s. {holder}. Let it finish, "
                "or end that connection (KILL)",
                os.EX_TEMPFAIL,
            )
        is_news = holder != last_holder or now - last_logged >= LOG_EVERY
        last_logged, last_holder = (now, holder) if is_news else (last_logged, last_holder)
        boot.report_progress(f"waiting for the schema lock. {holder}", logging.INFO if is_news else logging.DEBUG)
        seconds = 1  # at a time, so that a request to stop is seen


def _try(connection: Connection, seconds: int) -> bool:
    answer = connection.scalar(text(f"SELECT GET_LOCK({NAME}, {seconds})"))
    connection.commit()  # the lock survives it; within this transaction later statements would see old rows
    if answer is None:
        raise StartupError("MySQL could not try to take the schema lock (GET_LOCK is NULL): try again", os.EX_TEMPFAIL)
    return bool(answer == 1)


def _holder(connection: Connection) -> str:
    """Who has the lock and since when, as far as this account may see it."""
    holder, revision = connection.scalar(text(f"SELECT IS_USED_LOCK({NAME})")), begun(connection)
    rows = connection.execute(text("SHOW PROCESSLIST")).mappings().all()
    connection.commit()
    if holder is None:
        return "It has just come free"
    address = next((f" from {row['Host']}" for row in rows if row["Id"] == holder), "")
    doing = f" and runs {revision}" if revision else ""
    return f"Connection {holder}{address} has it{doing}"
