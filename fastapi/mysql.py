"""MySQL as a dependency that is waited for and watched."""

import time
from contextlib import suppress

from connection import Connection
from driver import Error
from faults import Unavailable
from mysql_faults import explain
from settings import Settings

LOGIN_EVERY = 30.0  # seconds; who is logged in already does not notice a changed password or a dropped database


class LostConnection(Exception):
    """A connection is gone. Whether the server is, too, only a new login can tell."""


class MySQL:
    """Usable means: logged in as the app's user, and `SELECT 1` answered.

    One connection is kept for all checks, and replaced when it is lost or older than `login_every` seconds.
    """

    def __init__(self, settings: Settings, login_every: float = LOGIN_EVERY) -> None:
        self._settings = settings
        self._login_every = login_every
        self._login_due = 0.0
        self._connection: Connection | None = None

    @property
    def address(self) -> str:
        return self._settings.mysql_address

    def check(self, seconds: float) -> float:
        """Asks over the kept connection, or over a new one. Returns the latency in milliseconds. Raises Unavailable."""
        try:
            if self._connection and time.monotonic() < self._login_due:
                with suppress(LostConnection):
                    return self._ask_again(self._connection, seconds)
            return self._log_in(seconds)
        except Error as error:
            self.close()
            raise Unavailable(explain(error, self._settings)) from None

    def wait_for_close(self, seconds: float) -> None:
        """Waits so long, but not after the server has closed the kept connection."""
        if self._connection:
            self._connection.wait_for_close(seconds)

    def _ask_again(self, connection: Connection, seconds: float) -> float:
        try:
            connection.check(seconds)
        except Error as error:
            if explain(error, self._settings).reason == "timeout":
                raise
            raise LostConnection from None
        return connection.latency_ms

    def close(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _log_in(self, seconds: float) -> float:
        self.close()
        self._connection = Connection(self._settings, deadline=seconds, read_timeout=seconds, autocommit=True)
        self._login_due = time.monotonic() + self._login_every
        return self._connection.latency_ms
