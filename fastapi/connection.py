"""One connection to MySQL that no behaviour of the server can hold for longer than a deadline."""

import select
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from deadlines import deadlines
from driver import CLIENT, CR, BaseConnection, Error, InternalError, OperationalError, load_cryptography
from mysql_faults import NoGreeting
from settings import Settings

RECENT = 0.1  # seconds; a connection that answered so recently is lent again without a round trip to ask

# What PyMySQL's parser raises on bytes that are not MySQL's.
GARBAGE = (struct.error, ValueError, IndexError, KeyError, TypeError, AssertionError, RuntimeError)


@lru_cache
def tls_context(ca: Path | None) -> ssl.SSLContext:
    """Made once: PyMySQL makes one a connection and reads all certificates of the system for it, which takes 36 ms.

    With `ca` the server's certificate and name are verified, without they are not.
    """
    if ca is None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which MySQL's own generated certificates do not pass
    return context


def _open_socket(host: str, port: int, seconds: float) -> socket.socket:
    """A TCP connection to the first address of `host` that accepts it. Raises OSError.

    Each address has its share of the time that is left, so that a dead one does not use up what the next one needs.
    """
    end = time.monotonic() + seconds
    addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for left, (*_, address) in zip(range(len(addresses), 0, -1), addresses, strict=True):
        try:
            sock = socket.create_connection((str(address[0]), port), max(0.01, (end - time.monotonic()) / left))
        except OSError as error:
            failure = error
        else:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return sock
    raise failure


class NeedsCryptography(OperationalError):
    """The login needs the package `cryptography`: no TLS, and the server does not know the password yet."""


class Connection(BaseConnection):
    """A PyMySQL connection that is logged in and has answered `SELECT 1` within `deadline` seconds, or is not made.

    PyMySQL's own timeouts count from one byte to the next, so a server that sends a byte now and then outlives them.
    Here a second handle on the same socket is kept: shutting that down ends any read or write, TLS included, at once.

    Raises pymysql.Error, whatever went wrong.
    """

    _read_timeout: float | None  # PyMySQL's own

    def __init__(self, settings: Settings, deadline: float, read_timeout: float, autocommit: bool = False) -> None:
        tls = tls_context(settings.mysql_ssl_ca)
        super().__init__(
            host=settings.mysql_host,
            port=settings.mysql_port,
            database=settings.mysql_database,
            user=settings.mysql_user,
            password=settings.password,
            charset="utf8mb4",
            ssl=tls if settings.mysql_ssl_ca else None,
            ssl_disabled=settings.mysql_ssl_ca is None,
            read_timeout=read_timeout,
            write_timeout=read_timeout,
            autocommit=autocommit,
            client_flag=CLIENT.FOUND_ROWS,  # SQLAlchemy counts the rows that an UPDATE finds, not those it changes
            defer_connect=True,
        )
        self._settings = settings
        self._login_timeout = deadline
        self._answered_at = 0.0
        self.ssl, self.ctx = True, tls  # use TLS where the server offers it, as PyMySQL does by default
        ends_at = time.monotonic() + deadline
        try:
            self._open(ends_at)
        except NeedsCryptography:
            if not load_cryptography():
                raise
            self._open(ends_at)

    def _open(self, ends_at: float) -> None:
        try:
            sock = _open_socket(self._settings.mysql_host, self._settings.mysql_port, ends_at - time.monotonic())
            self._handle = sock.dup()
        except OSError as error:
            raise NoGreeting(CR.CR_CONN_HOST_ERROR, "no TCP connection") from error
        try:
            with self.deadline(ends_at - time.monotonic()):
                self._log_in(sock)
                self.latency_ms = self._select_1()
        except Error:
            self.close()
            raise

    def _log_in(self, sock: socket.socket) -> None:
        try:
            self.connect(sock)
        except RuntimeError as error:  # PyMySQL's way to say that the package is missing
            raise NeedsCryptography(CR.CR_AUTH_PLUGIN_CANNOT_LOAD, "login method not available") from error
        except OperationalError as error:
            cause = error.__context__
            greeted = hasattr(self, "server_version")
            if error.args[0] == CR.CR_SERVER_LOST and not greeted and not isinstance(cause, TimeoutError):
                raise NoGreeting(*error.args) from cause
            raise

    def _select_1(self) -> float:
        began = time.perf_counter()
        with self.cursor() as cursor:
            cursor.execute("SELECT 1")
        return (time.perf_counter() - began) * 1000

    def check(self, seconds: float) -> None:
        """One `SELECT 1`, answered within `seconds`; `latency_ms` says how fast. Raises pymysql.Error."""
        with self.deadline(seconds):
            self.latency_ms = self._select_1()

    def query(self, sql: Any, unbuffered: bool = False) -> int:
        """As PyMySQL's; remembers when the server has answered last."""
        rows = super().query(sql, unbuffered)
        self._answered_at = time.monotonic()
        return rows

    def ping(self, reconnect: Any = False) -> None:
        """The pool's pre-ping: whether the connection is still good. Raises pymysql.Error.

        A close by the server is seen without asking. Asking may take as long as a login, not as long as a statement.
        """
        if time.monotonic() - self._answered_at < RECENT and not self._has_input(0):
            return
        statement_timeout = self._read_timeout
        self._read_timeout = self._login_timeout
        try:
            super().ping(reconnect)
        finally:
            self._read_timeout = statement_timeout

    @contextmanager
    def deadline(self, seconds: float) -> Iterator[None]:
        """Ends what the block says to the server after `seconds`, with a pymysql.Error caused by a TimeoutError."""
        late = False

        def cut() -> None:
            nonlocal late
            late = True
            self.abort()

        number = deadlines.call_after(seconds, cut)
        try:
            yield
        except GARBAGE as error:
            raise InternalError("not MySQL's protocol") from error
        except Error:
            if not late:
                raise
        finally:
            deadlines.cancel(number)
        if late:
            raise OperationalError(CR.CR_SERVER_LOST, "deadline passed") from TimeoutError()

    @contextmanager
    def without_read_timeout(self) -> Iterator[None]:
        """For DDL, which may be silent for hours."""
        before, self._read_timeout = self._read_timeout, None
        try:
            yield
        finally:
            self._read_timeout = before

    def wait_for_close(self, seconds: float) -> None:
        """Waits, but returns at once when the server closes the connection, or says anything unasked."""
        self._has_input(seconds)

    def _has_input(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self._handle, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def abort(self) -> None:
        """Ends whatever another thread is doing with this connection."""
        with suppress(OSError):
            self._handle.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        with suppress(Error):  # PyMySQL's complaint that it is closed already
            super().close()
        self._handle.close()
