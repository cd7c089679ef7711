"""The log: one line where a line helps, in one format, with request ids, and without noise."""

import json
import re
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from database_server import DatabaseServer
from ports import free_port
from process import Service, Start
from proxy import Proxy


@pytest.mark.prd("LOG-01")
def test_every_line_is_json_on_demand(start: Start) -> None:
    """With LOG_FORMAT=json each line, uvicorn's included, is an object with the same fields."""
    service = start(LOG_FORMAT="json")
    service.wait_until_ok()
    service.ask("/api/test", headers={"X-Request-ID": "my-request.1"})
    service.terminate()

    lines = [json.loads(line) for line in service.log.splitlines()]

    assert all({"timestamp", "level", "logger", "message", "request_id"} <= line.keys() for line in lines)
    assert "uvicorn.error" in {line["logger"] for line in lines}
    access = next(line for line in lines if line.get("path") == "/api/test")
    assert (access["method"], access["path"], access["status"]) == ("GET", "/api/test", 200)
    assert (access["request_id"], access["duration_ms"] > 0) == ("my-request.1", True)


@pytest.mark.prd("LOG-01")
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_mistakes_in_settings_are_json_too(start: Start, own_folder: Path, place: str) -> None:
    """Even the first message, before the settings are known, keeps to LOG_FORMAT."""
    if place == ".env":
        (own_folder / ".env").write_text("LOG_FORMAT=json\n")
    service = start(folder=own_folder, LOG_FORMAT="json" if place == "environment" else None, MYSQL_HOST=None)
    service.exit_code()

    lines = [json.loads(line) for line in service.log.splitlines()]

    assert "MYSQL_HOST is missing" in lines[0]["message"]


@pytest.mark.prd("LOG-01", "SET-04")
def test_a_line_of_dotenv_that_cannot_be_read(start: Start, own_folder: Path) -> None:
    """It is logged once, by its number, in the format that .env itself asks for."""
    (own_folder / ".env").write_text("LOG_FORMAT=json\nno setting at all\n")

    service = start(folder=own_folder, MYSQL_HOST=None)
    service.exit_code()
    messages = [json.loads(line)["message"] for line in service.log.splitlines()]

    assert [message for message in messages if "at line 2" in message] == messages[:1]


@pytest.mark.prd("LOG-01")
def test_every_line_has_one_form(start: Start) -> None:
    """As text, each line has a UTC time, a level, a logger and a request id or a dash."""
    service = start()
    service.wait_until_ok()
    service.ask("/api/")
    service.terminate()

    form = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INFO|WARNING|ERROR|CRITICAL) +[\w.]+ \[[\w-]+\] \S")

    assert [line for line in service.log.splitlines() if not form.match(line)] == []


@pytest.mark.prd("LOG-01")
def test_the_level_counts(start: Start) -> None:
    """LOG_LEVEL=WARNING leaves out what went well."""
    service = start(LOG_LEVEL="warning")
    service.wait_until_ok()
    service.ask("/api/")

    assert service.terminate() == 0
    assert "boot [-] ready after" not in service.log
    assert "GET /api/ 200" not in service.log


@pytest.mark.prd("LOG-03")
def test_probes_are_not_logged(start: Start, proxy: Proxy) -> None:
    """Probes come every few seconds for ever, and what they are told is in the log already: none is a line."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    proxy.break_with("refuse")
    service.wait_for(lambda body: body["status"] == "unavailable")
    service.ask("/health/live")
    service.ask("/api/")
    service.wait_for_log("GET /api/ 200")

    assert "/health" not in service.log.replace("(/, /health, /docs)", "")


@pytest.mark.prd("LOG-03")
def test_the_access_log_can_be_switched_off(start: Start) -> None:
    """ACCESS_LOG=false leaves out the lines of the requests alone; the request id stays in the answer."""
    service = start(ACCESS_LOG="false")
    service.wait_until_ok()

    answer = service.ask("/api/")
    service.terminate()

    assert answer.headers["X-Request-ID"]
    assert "GET /api/" not in service.log
    assert "ready after" in service.log


@pytest.mark.prd("LOG-03")
def test_a_request_that_fails_is_one_line(start: Start, proxy: Proxy) -> None:
    """A request without its database is one line, which names the reason."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    proxy.break_with("refuse")
    service.wait_for_reason("connection_refused")
    before = len(service.log)

    answer = service.ask("/api/test")
    service.wait_for_log("GET /api/test 503")
    lines = service.log[before:].splitlines()

    assert len(lines) == 1
    assert re.search(r"\[(\w+)\] GET /api/test 503 [\d.]+ ms connection_refused$", lines[0])
    assert answer.headers["X-Request-ID"] in lines[0]


@pytest.mark.prd("LOG-05")
def test_a_reader_that_stops_reading_stops_nothing(start: Start, server: DatabaseServer, project: Path) -> None:
    """With a full pipe behind standard error requests go on; when it is read again, a line says what was dropped."""
    environment = {
        "MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": "app", "MYSQL_USER": "app",
        "MYSQL_PASSWORD": server.password, "PORT": str(free_port()),
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "main.py"], cwd=project / "fastapi", env=environment, stderr=subprocess.PIPE
    )
    assert process.stderr
    service = Reader(process, int(environment["PORT"]))
    try:
        service.wait_until_ok()
        codes = {service.ask("/api/").status for _ in range(1500)}  # about 150 KB of lines into a pipe of 64
        read_again = threading.Thread(target=service.read, daemon=True)
        read_again.start()
        service.ask("/api/")
        service.wait_for_line("log lines were dropped: nothing was reading standard error")
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()

    assert codes == {200}


class Reader(Service):
    """A service whose log is a pipe that is read only on demand."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self.port = port
        self._answers: list[str] = []
        self._lines: list[str] = []

    @property
    def log(self) -> str:
        return "".join(self._lines)

    def read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self._lines.append(line.decode())

    def wait_for_line(self, text: str) -> None:
        deadline = time.monotonic() + 20
        while text not in self.log and time.monotonic() < deadline:
            self.ask("/api/")
            time.sleep(0.05)
        assert text in self.log


@pytest.mark.prd("LOG-05")
def test_what_libraries_say_of_bad_clients_is_limited(start: Start) -> None:
    """Requests that are not HTTP are ten lines a second, and then a number."""
    service = start()
    service.wait_until_ok()

    for _ in range(100):
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"this is not HTTP\r\n\r\n")
            client.recv(1000)
    began = time.monotonic()
    while "more lines like this: Invalid HTTP request received." not in service.log and time.monotonic() < began + 20:
        with socket.create_connection(("127.0.0.1", service.port)) as client:
            client.sendall(b"this is not HTTP\r\n\r\n")
            client.recv(1000)

    assert "more lines like this: Invalid HTTP request received." in service.log
    assert service.log.count("uvicorn.error [-] Invalid HTTP request received.") < 60


@pytest.mark.prd("LOG-05")
def test_running_out_of_files_is_not_a_flood(start: Start) -> None:
    """With no file descriptor left for another client the log stays short, and the service goes on afterwards."""
    service = start(["prlimit", "--nofile=40", sys.executable, "main.py"])
    service.wait_until_ok()

    with ExitStack() as stack:
        for _ in range(80):
            stack.enter_context(socket.create_connection(("127.0.0.1", service.port)))
        process = psutil.Process(service.process.pid)
        deadline = time.monotonic() + 20
        while process.num_fds() < 40 and time.monotonic() < deadline:
            time.sleep(0.01)
        full = process.num_fds()
    service.wait_until_ok()

    assert full >= 38
    assert service.log.count("\n") < 100


@pytest.mark.prd("LOG-02")
@pytest.mark.parametrize("sent", ["abc-123", "A.b_c-9", "f" * 64])
def test_a_sane_request_id_is_kept(start: Start, sent: str) -> None:
    """A client's request id is returned and stands in the log line of its request."""
    service = start()
    service.wait_until_ok()

    answer = service.ask("/api/test", headers={"X-Request-ID": sent})

    assert answer.headers.get_all("X-Request-ID") == [sent]
    service.wait_for_log(f"[{sent}] GET /api/test 200")


@pytest.mark.prd("LOG-02")
@pytest.mark.parametrize("sent", [None, "", "f" * 65, "a b", "x;y", "\t[fake] line"])
def test_another_request_id_is_replaced(start: Start, sent: str | None) -> None:
    """What is missing, too long or could forge a log line is replaced by an id of our own."""
    service = start()
    service.wait_until_ok()

    answer = service.ask("/api/", headers={} if sent is None else {"X-Request-ID": sent})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["X-Request-ID"])
    service.wait_for_log(f"[{answer.headers['X-Request-ID']}] GET /api/ 200")
    assert "WARNING" not in service.story


@pytest.mark.prd("SEC-04")
def test_a_path_cannot_forge_a_line_nor_a_query_leak(start: Start) -> None:
    """The path is logged as it was sent, the query, which may hold a token, not at all."""
    service = start()
    service.wait_until_ok()

    service.ask("/api/%0aFORGED?token=hidden")

    service.wait_for_log("GET /api/%0aFORGED 404")
    assert "hidden" not in service.log
    assert "\nFORGED" not in service.log


def wait_lines(service: Service) -> list[str]:
    return [line for line in service.log.splitlines() if "waiting for the database" in line]


@pytest.mark.prd("LOG-04")
def test_the_wait_is_logged_without_noise(start: Start) -> None:
    """The first failure at once with its hint, then a line every five seconds, at last a summary."""
    service = start(MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=7)

    service.exit_code()

    assert len(wait_lines(service)) == 2
    assert "connection_refused, attempt 1, 7 s left. MySQL is not accepting connections" in wait_lines(service)[0]
    assert wait_lines(service)[1].endswith(" left.")
    summary = re.search(
        r"database: failed, .*: (\d+) attempts in (\d+\.\d) s, last reason connection_refused\.", service.log
    )
    assert summary
    assert 30 <= int(summary[1]) <= 80


@pytest.mark.prd("LOG-04")
def test_what_waiting_does_not_cure_is_logged_at_once(start: Start, server: DatabaseServer, proxy: Proxy) -> None:
    """When an outage becomes one that only a person can end, that is a line of its own."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    proxy.break_with("refuse")
    service.wait_for_log("database down")
    server.set_password("another")
    proxy.heal()

    service.wait_for_log("database still down since")
    assert re.search(r"database still down since \d\d:\d\d:\d\dZ: access_denied\. MySQL refuses user app", service.log)


@pytest.mark.prd("LOG-04")
def test_an_outage_is_two_lines(start: Start, proxy: Proxy) -> None:
    """Its beginning with the reason and its end with the length, however often the reason changes in between."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    for fault, reason in (("refuse", "connection_refused"), ("close", "connection_lost"), ("http", "not_mysql")):
        proxy.break_with("refuse")
        proxy.heal()
        proxy.break_with(fault)
        service.wait_for_reason(reason)
    proxy.heal()
    service.wait_until_ok()

    lines = [line for line in service.log.splitlines() if " watch " in line]
    assert ["down: " in line or "up again after" in line for line in lines] == [True] * len(lines)
    assert service.log.count("still down") == 0


@pytest.mark.prd("LOG-04")
def test_a_change_of_reason_is_logged_at_once(start: Start, proxy: Proxy) -> None:
    """When the reason changes while waiting, that is a line of its own, with its hint."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")

    proxy.fault = "http"
    proxy.heal()
    proxy.fault = "http"
    service.wait_for_reason("not_mysql")

    assert "does not speak MySQL's protocol" in wait_lines(service)[-1]


def test_queries_in_the_access_log(start: Start) -> None:
    """Where LOG_LEVEL=DEBUG a request's line has the number of its statements and their time, and only there."""
    service = start(program="three_statements", LOG_LEVEL="DEBUG", LOG_FORMAT="json")
    usual = start(program="three_statements")
    for each in (service, usual):
        each.wait_until_ok()

    for path in ("/three", "/api/", "/three"):
        service.ask(path)
    usual.ask("/three")
    usual.terminate()
    service.terminate()

    lines = [json.loads(line) for line in service.log.splitlines()]
    access = [line for line in lines if line["logger"] == "access"]
    three = next(line for line in access if line["path"] == "/three")  # a line may come after the next request
    assert sorted((line["path"], line["queries"]) for line in access) == [("/api/", 0), ("/three", 3), ("/three", 3)]
    assert three["message"].endswith(f" ms 3 queries {three['queries_ms']} ms")
    assert 0 < three["queries_ms"] <= three["duration_ms"]
    assert "GET /three 200" in usual.log
    assert "queries" not in usual.log
