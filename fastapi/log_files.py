"""Log files, where LOG_DIR is set: one a day and host, written by a thread of its own, so that no disk stops a request.

A file is named after its day (UTC) and its host, and never renamed: writers that share a folder do not meet.
"""

import logging
import os
import re
import socket
import threading
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from queue import Full, Queue

from logs import request_id

LINES_WAITING = 10_000  # that are kept in memory while the disk is slow or full; later ones are dropped
RETRY_EVERY = 1.0  # seconds
LAST_WORDS = 1.0  # seconds that the end of the process waits for lines not yet written
NAME = re.compile(r"(\d{4}-\d\d-\d\d)_.+\.log")  # what is removed by age, and nothing else

log = logging.getLogger(__name__)


class LogFiles(logging.Handler):
    """Appends each line to `folder/<day>_<host>.log`, and removes what is older than `keep_days`, of whatever host."""

    def __init__(self, folder: Path, keep_days: int) -> None:
        super().__init__()
        self.name = "file"
        self.dropped = 0  # in all
        self._file = _File(folder, keep_days)
        self._lines: Queue[tuple[float, bytes] | None] = Queue(LINES_WAITING)
        self._closing = threading.Event()
        self._failure = ""  # why nothing can be written now
        self._noted = 0  # of the dropped lines, how many a line has said
        self._thread = threading.Thread(target=self._run, name="log files", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never waits."""
        record.request_id = request_id.get()
        try:
            line = (self.format(record) + "\n").encode(errors="backslashreplace")
            self._lines.put_nowait((record.created, line))
        except Full:
            self.dropped += 1
        except Exception:  # noqa: BLE001  as in the standard library: a log line must not break what it tells about
            self.handleError(record)

    def close(self) -> None:
        """Writes what waits, for at most a second."""
        self._closing.set()
        with suppress(Full):
            self._lines.put_nowait(None)
        self._thread.join(LAST_WORDS)
        super().close()

    def _run(self) -> None:
        while not (self._closing.is_set() and self._lines.empty()):
            entry = self._lines.get()
            if entry and not self._write(*entry):
                return

    def _write(self, moment: float, line: bytes) -> bool:
        """Tries until it is written. False: the process ends before that."""
        while True:
            try:
                while line:
                    line = line[self._file.write(moment, line) :]
            except OSError as error:
                with suppress(OSError):  # which may say the same again; it is closed all the same
                    self._file.close()
                self._note_failure(error.strerror or type(error).__name__)
            else:
                self._note_success()
                return True
            if self._closing.wait(RETRY_EVERY):
                return False

    def _note_failure(self, why: str) -> None:
        if not self._failure:
            hint = f"{LINES_WAITING:,} lines wait in memory, further ones are dropped; standard error has them all"
            log.warning("LOG_DIR=%s cannot be written to: %s. %s.", self._file.folder, why, hint)
        self._failure = why

    def _note_success(self) -> None:
        fresh = self.dropped - self._noted
        if self._failure or (fresh and self._lines.empty()):
            self._noted += fresh
            why, self._failure = self._failure or "It was too slow", ""
            log.warning(
                "LOG_DIR=%s is written to again after: %s. %d lines were dropped", self._file.folder, why, fresh
            )


class _File:
    """The file of the day. Each method raises OSError."""

    def __init__(self, folder: Path, keep_days: int) -> None:
        self.folder = folder
        self._keep = timedelta(days=keep_days)
        self._host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        self._day: date | None = None  # of the open file
        self._fd = -1

    def write(self, moment: float, line: bytes) -> int:
        """Writes to the file of that moment's day as much as fits, and returns how much that was."""
        day = datetime.fromtimestamp(moment, UTC).date()
        if day != self._day or not os.fstat(self._fd).st_nlink:  # somebody has removed the file
            self.close()
            self._open(day)
        return os.write(self._fd, line)

    def close(self) -> None:
        """The next write opens it anew."""
        if self._day:
            self._day = None
            os.close(self._fd)

    def _open(self, day: date) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_old(day)  # first: a full disk may have no room for a new file
        path = self.folder / f"{day}_{self._host}.log"
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
        self._day = day

    def _remove_old(self, day: date) -> None:
        for path in self.folder.iterdir():
            named = NAME.fullmatch(path.name)
            with suppress(ValueError, OSError):  # no such day, or another replica was faster
                if named and date.fromisoformat(named[1]) < day - self._keep:
                    path.unlink()
