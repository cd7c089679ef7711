"""LOG_DIR: a file a day and host, and a disk that is full, slow, missing or read-only stops nobody."""

import json
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from process import Start

from log_files import LINES_WAITING, LogFiles

FASTAPI = Path(__file__).parent.parent / "fastapi"


def file_of(folder: Path, day: datetime | None = None) -> Path:
    return folder / f"{day or datetime.now(UTC):%Y-%m-%d}_{socket.gethostname()}.log"


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.02)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "deep"


@pytest.fixture
def handler(folder: Path) -> Iterator[LogFiles]:
    """Not among the root logger's handlers: the tests give it records themselves."""
    handler = LogFiles(folder, keep_days=3)
    yield handler
    handler.close()


def record(text: str, moment: datetime | None = None) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": text, "levelno": logging.INFO, "levelname": "INFO"})
    if moment:
        made.created = moment.timestamp()
    return made


def test_each_line_is_in_the_file_too(start: Start, folder: Path) -> None:
    """From the stage "logging" to the last line, the file has what standard error has."""
    service = start(LOG_DIR=folder)
    service.wait_until_ok()
    service.ask("/api/")
    service.terminate()

    text = file_of(folder).read_text()

    assert service.log.endswith(text)
    assert f"logging: done, INFO, text, also to {folder}" in text.splitlines()[0]
    assert "GET /api/ 200" in text
    assert text.splitlines()[-1].endswith("stopped, exit code 0")


def test_the_file_has_the_format_of_the_log(start: Start, folder: Path) -> None:
    """LOG_FORMAT=json holds in the file, too."""
    service = start(LOG_DIR=folder, LOG_FORMAT="json")
    service.wait_until_ok()
    service.terminate()

    lines = [json.loads(line) for line in file_of(folder).read_text().splitlines()]

    assert "ready after" in " ".join(line["message"] for line in lines)


def test_old_files_are_removed_of_whatever_host(start: Start, folder: Path) -> None:
    """By the day in the name; what has another name is somebody else's."""
    today = datetime.now(UTC)
    old, kept = (file_of(folder, today - timedelta(days=days)).with_suffix("") for days in (8, 6))
    names = [
        f"{old.name}.log",
        f"{old.name[:10]}_another-host.log",
        f"{kept.name}.log",
        "notes.log",
        "2026-99-99_x.log",
    ]
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).write_text("something\n")

    service = start(LOG_DIR=folder, LOG_KEEP_DAYS=7)
    service.wait_until_ok()
    service.terminate()

    assert {path.name for path in folder.iterdir()} == {*names[2:], file_of(folder).name}


def test_a_new_file_at_midnight(handler: LogFiles, folder: Path) -> None:
    """Midnight is that of UTC: the line before it and the line after it are in two files."""
    midnight = datetime(2026, 3, 29, tzinfo=UTC)

    handler.emit(record("before", midnight - timedelta(milliseconds=1)))
    handler.emit(record("after", midnight))
    handler.close()

    assert file_of(folder, midnight - timedelta(days=1)).read_text() == "before\n"
    assert file_of(folder, midnight).read_text() == "after\n"


def test_a_file_that_is_removed_begins_anew(handler: LogFiles, folder: Path) -> None:
    """Who removes the file of today to have its space again gets that, and a new file."""
    handler.emit(record("before"))
    until(lambda: file_of(folder).exists() and file_of(folder).read_text() == "before\n")
    file_of(folder).unlink()

    handler.emit(record("after"))

    until(lambda: file_of(folder).exists() and file_of(folder).read_text() == "after\n")


def test_a_file_that_cannot_be_closed_begins_anew(
    handler: LogFiles, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk may say so again when the file is closed: the lines wait until there is room, all the same."""
    handler.emit(record("before"))
    until(lambda: file_of(folder).exists() and file_of(folder).read_text() == "before\n")
    os.close(handler._file._fd)  # from now on both writing and closing it fail

    handler.emit(record("after"))

    until(lambda: "is written to again after: Bad file descriptor. 0 lines were dropped" in caplog.text)
    assert file_of(folder).read_text() == "before\nafter\n"


def test_two_services_on_one_host(folder: Path) -> None:
    """Both append to the same file, and no line is lost."""
    handlers = [LogFiles(folder, 3), LogFiles(folder, 3)]
    for number in range(1000):
        handlers[number % 2].emit(record(f"line {number}"))
    for handler in handlers:
        handler.close()

    assert sorted(file_of(folder).read_text().splitlines()) == sorted(f"line {number}" for number in range(1000))


def test_a_full_disk_stops_nobody(start: Start, folder: Path) -> None:
    """Requests go on, one line says so, and when there is room again every line is there."""
    folder.mkdir(parents=True)
    file_of(folder).symlink_to("/dev/full")
    service = start(LOG_DIR=folder)
    service.wait_until_ok()

    codes = {service.ask("/api/").status for _ in range(50)}
    service.wait_for_log("No space left on device")
    file_of(folder).unlink()
    service.wait_for_log("is written to again after: No space left on device. 0 lines were dropped")
    service.terminate()

    assert codes == {200}
    assert service.log.count("cannot be written to") == service.log.count("is written to again") == 1
    assert file_of(folder).read_text().count("GET /api/ 200") == 50


def test_a_folder_that_cannot_be_made_stops_nobody(start: Start, folder: Path) -> None:
    """Neither the start nor a request needs it; the file begins when the folder can be made."""
    folder.parent.write_text("a file where the folder should be")
    service = start(LOG_DIR=folder)
    service.wait_until_ok()

    assert service.ask("/api/").status == 200
    service.wait_for_log(f"LOG_DIR={folder} cannot be written to: Not a directory")

    folder.parent.unlink()
    until(lambda: folder.exists() and "GET /api/ 200" in file_of(folder).read_text())


def test_a_hanging_disk_stops_nobody(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As many lines as there is room for wait in memory, further ones are dropped and counted."""
    folder.mkdir(parents=True)
    os.mkfifo(file_of(folder))  # to open it for writing hangs until somebody reads
    handler = LogFiles(folder, 3)
    lines = LINES_WAITING + 100

    for number in range(lines):
        handler.emit(record(f"line {number}"))
    dropped = handler.dropped
    with file_of(folder).open() as reader:
        read: list[str] = []
        thread = threading.Thread(target=lambda: read.extend(reader))
        thread.start()
        until(lambda: f"again after: It was too slow. {dropped} lines were dropped" in caplog.text)
        handler.close()
        handler._file.close()
        thread.join(20)

    assert 90 <= dropped <= 100
    assert len(read) == lines - dropped


def test_without_log_dir_there_is_no_thread() -> None:
    """Nor is the module imported that would start one."""
    look = (
        "import sys, threading, main, settings; service = main.app.service; "
        "service.settings = settings.read_settings(); main.set_up_logging(service); "
        "print('log_files' in sys.modules, threading.active_count())"
    )
    environment = {"MYSQL_HOST": "mysql", "MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_PASSWORD": "x"}

    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=FASTAPI,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert done.stdout.split() == ["False", "1"]
