"""The monitor: one thread and one connection that watch the database for all who ask `/health`."""

import logging
import threading
import time
from contextlib import closing

from pymysql.err import Error

from backoff import short_pause
from connection import Connection
from faults import Fault, explain
from health import Health
from settings import Settings

SHORT_LIFE = 0.5  # seconds; a server that closes connections sooner must not be asked for a new one at once
LOGIN_EVERY = 30.0  # seconds; who is logged in already does not notice a changed password or a dropped database
LOG_EVERY = 5.0  # seconds between two log lines of one outage, however often its reason changes

log = logging.getLogger(__name__)


class Monitor(threading.Thread):
    """Checks every `DB_CHECK_INTERVAL` seconds, and at once when the server closes the idle connection.

    Now and then the check is a new login: usable means that this user may log in, not that it once could.
    """

    def __init__(self, settings: Settings, health: Health, stopping: threading.Event) -> None:
        super().__init__(name="monitor", daemon=True)
        self._settings = settings
        self._health = health
        self._stopping = stopping
        self._told_at = 0.0
        self._told = ""

    def run(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._watch()
            except Exception as error:  # noqa: BLE001  whatever it is: without its monitor /health would be stale for ever
                self._down(explain(error, self._settings))
            else:
                if time.monotonic() - began < SHORT_LIFE:
                    self._stopping.wait(short_pause())

    def _watch(self) -> None:
        """Checks over one connection until the server closes it. Raises pymysql.Error when the database is down."""
        timeout = self._settings.db_check_timeout
        self._health.expect_news(timeout)
        login_due = time.monotonic() + LOGIN_EVERY
        with closing(Connection(self._settings, timeout, timeout, autocommit=True)) as connection:
            while not self._stopping.is_set():
                self._up(connection.latency_ms)
                connection.wait_for_close(self._settings.db_check_interval)
                if time.monotonic() > login_due:
                    return
                try:
                    connection.check(timeout)
                except Error as error:
                    if explain(error, self._settings).reason == "timeout":
                        raise
                    return  # closed: this connection only, or the server? A new one tells at once

    def _up(self, latency_ms: float) -> None:
        within = self._settings.db_check_interval + self._settings.db_check_timeout
        before = self._health.publish("up", within, latency_ms=latency_ms)
        if before.status == "down":
            outage = (self._health.database.since - before.since).total_seconds()
            log.info("database up again after %.1f s and %d attempts", outage, self._health.database.attempts)

    def _down(self, fault: Fault) -> None:
        pause = short_pause() if fault.cheap else self._settings.db_check_interval
        before = self._health.publish("down", pause + self._settings.db_check_timeout, fault)
        if before.status == "up":
            self._tell("database down", fault)
        elif self._told != fault.reason and time.monotonic() - self._told_at > LOG_EVERY:
            self._tell("database still down, now", fault)
        self._stopping.wait(pause)

    def _tell(self, what: str, fault: Fault) -> None:
        self._told, self._told_at = fault.reason, time.monotonic()
        log.error("%s: %s. %s", what, fault.reason, fault.hint)
