"""The log: one line where a line helps, in one format, with request ids, and without noise."""

import json
import re
import time

import pytest
from ports import free_port
from proxy import Proxy
from server import DatabaseServer
from service import Changed, Service, Start


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
def test_mistakes_in_settings_are_json_too(start: Start, changed: Changed, place: str) -> None:
    """Even the first message, before the settings are known, keeps to LOG_FORMAT."""
    folder = changed("api.py", "", "")
    if place == ".env":
        (folder / ".env").write_text("LOG_FORMAT=json\n")
    service = start(folder=folder, LOG_FORMAT="json" if place == "environment" else None, MYSQL_HOST=None)
    service.exit_code()

    lines = [json.loads(line) for line in service.log.splitlines()]

    assert "MYSQL_HOST is missing" in lines[0]["message"]


@pytest.mark.prd("LOG-01", "SET-04")
def test_a_line_of_dotenv_that_cannot_be_read(start: Start, changed: Changed) -> None:
    """It is told once, by its number, in the format that .env itself asks for."""
    folder = changed("api.py", "", "")
    (folder / ".env").write_text("LOG_FORMAT=json\nno setting at all\n")

    service = start(folder=folder, MYSQL_HOST=None)
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
    assert "boot [-] ready: done" not in service.log
    assert "GET /api/ 200" not in service.log


@pytest.mark.prd("LOG-03")
def test_probes_that_succeed_are_not_logged(start: Start, proxy: Proxy) -> None:
    """Probes come every few seconds for ever: only those that fail are worth a line."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    before = len(service.log)

    service.ask("/health")
    service.ask("/health/live")
    service.ask("/api/")
    service.wait_for_log("GET /api/ 200")
    quiet = service.log[before:]
    proxy.break_with("refuse")
    service.wait_for(lambda body: body["status"] == "unavailable")

    assert "/health" not in quiet
    assert "GET /api/ 200" in quiet
    service.wait_for_log("GET /health 503")


@pytest.mark.prd("LOG-03")
def test_a_storm_of_failing_probes_does_not_flood_the_log(start: Start) -> None:
    """Of the probes that fail within a second ten are lines, the others a number: the reason is not buried."""
    began = time.monotonic()
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")

    for _ in range(100):
        service.ask("/health")
    service.wait_for_log("more probes failed within that second")

    assert service.log.count("GET /health 503") <= 10 * (time.monotonic() - began + 1)


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
    return [line for line in service.log.splitlines() if "waiting for MySQL" in line]


@pytest.mark.prd("LOG-04")
def test_the_wait_is_told_without_noise(start: Start) -> None:
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
def test_the_lasting_reason_of_an_outage_is_told(start: Start, server: DatabaseServer, proxy: Proxy) -> None:
    """A reason that changes soon after the first line is told as soon as the next line may be."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    proxy.break_with("refuse")
    service.wait_for_log("database down")
    server.set_password("another")
    proxy.heal()

    service.wait_for_log("database still down, now: access_denied")


@pytest.mark.prd("LOG-04")
def test_a_change_of_reason_is_told_at_once(start: Start, proxy: Proxy) -> None:
    """When the reason changes while waiting, that is a line of its own, with its hint."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")

    proxy.fault = "http"
    proxy.heal()
    proxy.fault = "http"
    service.wait_for_reason("not_mysql")

    assert "does not speak MySQL's protocol" in wait_lines(service)[-1]
