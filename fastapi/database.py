"""The database: the engine and the sessions of requests, `get_db` for endpoints, and the wait at the start.

Importing this module reads no settings and connects to nothing.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress

import anyio.to_thread
from fastapi.requests import HTTPConnection
from sqlalchemy import URL, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

from breaker import CircuitBreaker
from connection import Connection
from faults import Unavailable
from health import Component
from mysql import MySQL
from mysql_faults import explain, is_about_the_statement, pool_exhausted
from queries import after_statement, before_statement
from request_metrics import Histogram
from service import Service
from settings import Settings
from wait import Limits, wait_for
from watch import watch


class Base(DeclarativeBase):
    """The parent of every model."""


class Database:
    """The engine, and what keeps requests from starving each other of its connections.

    FastAPI runs endpoints in a small pool of worker threads, and validates their answers there, too. Requests that
    waited for a connection in such a thread would keep out those that only want to finish and give theirs back. So a
    request waits for its place here, in the event loop, and there are as many places as connections.
    """

    def __init__(self, settings: Settings, component: Component) -> None:
        self.settings = settings
        self.component = component
        self.engine = create_engine(
            URL.create("mysql+pymysql", host=settings.mysql_host, database=settings.mysql_database),
            creator=lambda: Connection(settings, settings.db_connect_timeout, settings.db_read_timeout),
            pool_size=settings.db_pool_size,
            max_overflow=settings.db_max_overflow,
            pool_timeout=settings.db_pool_timeout,
            pool_recycle=int(settings.db_pool_recycle),
            pool_pre_ping=True,
            hide_parameters=True,  # values of a statement do not belong in a log
        )
        self.SessionLocal = sessionmaker(self.engine, expire_on_commit=False)
        self.breaker = CircuitBreaker(component)
        self._places = asyncio.Semaphore(settings.db_pool_size + settings.db_max_overflow)
        self.waiting, self.timeouts, self.waits = 0, 0, Histogram()  # for a place, or a connection of the pool
        event.listen(self.engine, "after_cursor_execute", lambda *_: self.breaker.record_success())
        if settings.log_level == "DEBUG":  # for the access log, see queries.py
            event.listen(self.engine, "before_cursor_execute", before_statement)
            event.listen(self.engine, "after_cursor_execute", after_statement)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A connection of the pool is free for whoever is inside.

        Raises Unavailable while the breaker is open, and after DB_POOL_TIMEOUT without a place.
        """
        self.breaker.let_through()
        had_to_wait = await self._take_place()
        try:
            if had_to_wait:
                self.breaker.let_through()  # it may have opened meanwhile
            yield
        finally:
            self._places.release()

    async def _take_place(self) -> bool:
        """Whether it had to wait for it."""
        has_to_wait, began = self._places.locked(), time.monotonic()
        self.waiting += has_to_wait
        try:
            async with asyncio.timeout(self.settings.db_pool_timeout if has_to_wait else None):
                await self._places.acquire()
        except TimeoutError:
            self.timeouts += 1
            raise Unavailable(self.breaker.open_fault() or pool_exhausted()) from None
        finally:
            self.waiting -= has_to_wait
            self.waits.observe(time.monotonic() - began)
        return has_to_wait


async def get_db(connection: HTTPConnection) -> AsyncIterator[Session]:
    """A session for one request: `db: Annotated[Session, Depends(get_db)]`, also in a WebSocket endpoint.

    Raises Unavailable where MySQL or the pool is at fault. A mistake in a statement stays what it is, a 500.
    """
    database: Database = connection.app.service.database
    if connection.scope["type"] == "websocket":  # it may last for hours: it has a place only while it uses one
        async with _session(database) as session:
            yield session
        return
    async with database.place(), _session(database) as session:
        yield session


@asynccontextmanager
async def _session(database: Database) -> AsyncIterator[Session]:
    session = database.SessionLocal()
    try:
        with translate_errors(database.settings):
            yield session
    finally:
        await _close(session)


@contextmanager
def translate_errors(settings: Settings) -> Iterator[None]:
    """Raises Unavailable where MySQL or the pool is at fault. A mistake in a statement stays what it is."""
    try:
        yield
    except (OperationalError, InterfaceError, InternalError) as error:
        cause = error.orig or error
        if error.statement is not None and is_about_the_statement(cause):  # None: a login has none
            raise
        raise Unavailable(explain(cause, settings)) from None
    except PoolTimeoutError:
        raise Unavailable(pool_exhausted()) from None


async def _close(session: Session) -> None:
    """Gives the connection back, in a thread, because that asks MySQL to roll back."""
    if not session.in_transaction():
        return session.close()
    with anyio.CancelScope(shield=True):
        limiter = anyio.CapacityLimiter(1)  # its own, so that it never waits for a worker thread
        await anyio.to_thread.run_sync(_close_quietly, session, limiter=limiter)


def _close_quietly(session: Session) -> None:
    with suppress(DBAPIError):  # the answer may be sent already; what was not committed is lost in any case
        session.close()


def wait_for_db(service: Service) -> str:
    """The stage: waits for MySQL, and from then on watches it. Raises StartupError with 69 or 77."""
    settings, component = service.settings, service.database_component
    mysql = MySQL(settings)
    limits = Limits(settings.db_wait_timeout, settings.db_wait_max_delay, settings.db_check_timeout)
    line = wait_for(mysql, component, service.health, limits)
    watch(
        mysql,
        component,
        service.boot.stopping,
        settings.db_check_interval,
        settings.db_check_timeout,
        pause=mysql.wait_for_close,
    )
    return line
