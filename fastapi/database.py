"""The database: engine and sessions for requests, the check that says whether MySQL is usable, and the wait for it.

Importing this module needs valid settings and connects to nothing.
"""

import logging
import os
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request
from pymysql.err import Error
from sqlalchemy import URL, Engine, create_engine
from sqlalchemy import Connection as SQLConnection
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker
from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, sleep_using_event

from backoff import Backoff
from boot import Boot, StartError, StopRequested
from connection import Connection
from faults import DatabaseUnavailable, Fault, explain, is_about_the_statement, pool_exhausted
from health import GiveUp, Health
from settings import Settings, get_settings

PERMANENT_GRACE = 5.0  # seconds that a server may refuse us because it is still being set up
LOG_EVERY = 5.0  # seconds between two log lines that say the same

log = logging.getLogger(__name__)
settings = get_settings()

engine = create_engine(
    URL.create("mysql+pymysql", host=settings.mysql_host, database=settings.mysql_database),
    creator=lambda: Connection(settings, settings.db_check_timeout, settings.db_read_timeout),
    pool_size=settings.db_pool_size,
    max_overflow=settings.db_max_overflow,
    pool_timeout=settings.db_pool_timeout,
    pool_recycle=int(settings.db_pool_recycle),
    pool_pre_ping=True,
    hide_parameters=True,  # values of a statement do not belong in a log
)


class Base(DeclarativeBase):
    """The parent of every model."""


class RequestSession(Session):
    """A session that does not try while the monitor gets no answer: it would hold a thread for seconds, for nothing."""

    def get_bind(self, *args: Any, **options: Any) -> Engine | SQLConnection:
        """Called before each statement. Raises DatabaseUnavailable."""
        health: Health | None = self.info.get("health")
        if health and (seen := health.database).reason == "timeout":
            raise DatabaseUnavailable(Fault("timeout", seen.hint or ""))
        return super().get_bind(*args, **options)


SessionLocal = sessionmaker(engine, class_=RequestSession, expire_on_commit=False)


def get_db(request: Request) -> Iterator[Session]:
    """A session for one request: `db: Annotated[Session, Depends(get_db)]`.

    Raises DatabaseUnavailable where MySQL or the pool is at fault. A mistake in a statement stays what it is, a 500.
    """
    session = SessionLocal(info={"health": request.app.state.health})
    try:
        yield session
    except (OperationalError, InterfaceError, InternalError) as error:
        cause = error.orig or error
        if error.statement is not None and is_about_the_statement(cause):  # None: a login has none
            raise
        raise DatabaseUnavailable(explain(cause, settings)) from None
    except PoolTimeoutError:
        raise DatabaseUnavailable(pool_exhausted()) from None
    finally:
        with suppress(DBAPIError):  # the answer may be sent already; what was not committed is lost in any case
            session.close()


def check(settings: Settings, seconds: float) -> float:
    """Usable means: logged in as the app's user and `SELECT 1` answered, all within `seconds`.

    Returns the latency in milliseconds. Raises pymysql.Error.
    """
    with closing(Connection(settings, deadline=seconds, read_timeout=seconds)) as connection:
        return connection.latency_ms


def wait_for_db(settings: Settings, health: Health, boot: Boot) -> str:
    """Waits until the database is usable and returns what it took, in words.

    Raises StartError with 69 after `DB_WAIT_TIMEOUT` seconds, or with 77 when MySQL keeps refusing what only a person
    can change; StopRequested as soon as the process is to stop.
    """
    wait = _Wait(settings, health, boot)
    retrying = Retrying(
        retry=retry_if_exception_type(Error),
        wait=wait.pause,
        stop=wait.over,
        before_sleep=wait.tell,
        sleep=sleep_using_event(boot.stopping),
    )
    try:
        latency_ms = retrying(wait.attempt)
    except RetryError:
        raise wait.failure() from None
    health.gives_up = None
    health.publish("up", next_news_within=settings.db_check_timeout, latency_ms=latency_ms)
    return f"usable after {wait.seconds:.1f} s, attempt {health.database.attempts}"


class _Wait:
    """What one wait remembers from try to try."""

    def __init__(self, settings: Settings, health: Health, boot: Boot) -> None:
        self._settings = settings
        self._health = health
        self._boot = boot
        self._backoff = Backoff(settings.db_wait_max_delay)
        self._began = time.monotonic()
        self._refused_since: float | None = None
        self._told_at = 0.0
        self._told: Fault | None = None
        self.fault: Fault  # of the last attempt

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _left(self) -> float:
        end = self._settings.db_wait_timeout
        if self._refused_since is not None:
            end = min(end, self._refused_since + PERMANENT_GRACE)
        return max(0.0, end - self.seconds)

    def over(self, _: RetryCallState) -> bool:
        return self._left == 0

    def attempt(self) -> float:
        if self._boot.stopping.is_set():
            raise StopRequested
        try:
            seconds = max(0.1, min(self._settings.db_check_timeout, self._left))
            self._health.expect_news(seconds)
            return check(self._settings, seconds)
        except Error as error:
            self.fault = explain(error, self._settings)
            raise

    def pause(self, state: RetryCallState) -> float:
        """Seconds until the next try, told to /health with the fault. tenacity asks this before it asks `over`."""
        if not self.fault.permanent:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = self.seconds
        pause = min(self._backoff.pause(self.fault), self._left)
        self._health.gives_up = GiveUp(datetime.now(UTC) + timedelta(seconds=self._left), self._exit_code)
        self._health.publish("waiting", pause + self._settings.db_check_timeout, self.fault)
        self._boot.say(f"{self.fault.reason}, attempt {state.attempt_number}, gives up in {self._left:.0f} s")
        return pause

    def tell(self, state: RetryCallState) -> None:
        """The first fault at once with its hint; then a line when the reason changes, or every few seconds."""
        changed = self._told is None or self._told.reason != self.fault.reason
        if not changed and self.seconds - self._told_at < LOG_EVERY:
            return
        self._told, self._told_at = self.fault, self.seconds
        log.warning(
            "waiting for MySQL at %s: %s, attempt %d, %.0f s left.%s",
            self._settings.mysql_address,
            self.fault.reason,
            state.attempt_number,
            self._left,
            f" {self.fault.hint}" if changed else "",
        )

    def failure(self) -> StartError:
        """The end of the wait in one line."""
        tries = self._health.database.attempts
        return StartError(
            f"MySQL at {self._settings.mysql_address} was not usable: {tries} attempts in {self.seconds:.1f} s, "
            f"last reason {self.fault.reason}. {self.fault.hint}",
            self._exit_code,
        )

    @property
    def _exit_code(self) -> int:
        return os.EX_NOPERM if self.fault.permanent else os.EX_UNAVAILABLE
