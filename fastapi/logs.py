"""Logging: one format for our lines, uvicorn's and SQLAlchemy's, on standard error, which is never waited for."""

import logging
import os
import select
import sys
import time
from contextvars import ContextVar
from typing import Literal, TextIO

PIPE_ROOM = 4096  # bytes that a pipe takes at once when it says that it has room (PIPE_BUF)
LAST_WORDS = 1000  # milliseconds that a CRITICAL line may wait for room: the process ends after it
FOREIGN_LINES = 10  # a second, of each kind: what libraries log for every bad client must not bury the rest

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def configure_logging(level: str, form: Literal["text", "json"], *more: logging.Handler) -> None:
    """Sends every log line of this process to standard error and to `more`: as text, or as a JSON object a line."""
    handlers = [StandardError(), *more]
    for handler in handlers:
        handler.setFormatter(_json() if form == "json" else TextFormatter())
    logging.basicConfig(level=level, handlers=handlers, force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.filters[:] = [Limit()]
        logger.propagate = name != "uvicorn.access"  # the access log is middleware.py's, with times
    # SQLAlchemy logs an error of the driver with its whole text; the request that meets it is answered and logged here.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    for name in ("sqlalchemy.engine", "alembic"):
        logging.getLogger(name).setLevel(logging.INFO if level == "DEBUG" else logging.WARNING)


class StandardError(logging.StreamHandler[TextIO]):
    """Writes a line only where there is room for it: a reader that stops reading must not stop the service.

    Lines without room are dropped; when there is room again, a line says how many.
    """

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._fd = sys.stderr.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self.name = "stderr"
        self.dropped = 0  # in all
        self._noted = 0  # of these, how many a line has said

    def emit(self, record: logging.LogRecord) -> None:
        record.request_id = request_id.get()
        try:
            patience = LAST_WORDS if record.levelno >= logging.CRITICAL else 0
            if self.dropped > self._noted and self._has_room(patience):
                fresh, self._noted = self.dropped - self._noted, self.dropped
                note = f"{fresh} log lines were dropped: nothing was reading standard error"
                fields = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "msg": note}
                self._write(logging.makeLogRecord({**fields, "request_id": "-"}), patience)
            if not self._write(record, patience):
                self.dropped += 1
        except Exception:  # noqa: BLE001  as in the standard library: a log line must not break what it tells about
            self.handleError(record)

    def _write(self, record: logging.LogRecord, patience: int) -> bool:
        rest = (self.format(record) + self.terminator).encode(errors="backslashreplace")
        while rest:
            if not self._has_room(patience):
                return False
            rest = rest[os.write(self._fd, rest[:PIPE_ROOM]) :]
        return True

    def _has_room(self, milliseconds: int) -> bool:
        return any(event & select.POLLOUT for _, event in self._poll.poll(milliseconds))


class Limit(logging.Filter):
    """Lets ten lines of a kind pass a second, and then says how many more there were."""

    def __init__(self) -> None:
        super().__init__()
        self._second = 0
        self._counts: dict[object, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            more = {kind: n - FOREIGN_LINES for kind, n in self._counts.items() if n > FOREIGN_LINES}
            self._second, self._counts = second, {}
            for kind, number in more.items():
                logging.getLogger(__name__).warning("%d more lines like this: %s", number, kind)
        kind = str(record.msg)[:100]
        self._counts[kind] = self._counts.get(kind, 0) + 1
        return self._counts[kind] <= FOREIGN_LINES


class TextFormatter(logging.Formatter):
    """A line for people, with the time in UTC. Most lines share their second with the line before."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)-8s %(name)s [%(request_id)s] %(message)s")
        self._second, self._text = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802  logging's name
        second = int(record.created)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return self._text


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message", "request_id"],
        rename_fields={"levelname": "level", "name": "logger"},
        timestamp=True,
    )
