"""/health and /health/live: what they say, at once, whatever the database does."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
from fake import OK, fake_mysql
from proxy import Proxy
from server import DatabaseServer, settings_for
from service import Service, Start

import health
from boot import Boot, Stage
from connection import Connection
from monitor import Monitor

STAGES = ["settings", "logging", "middleware", "routers", "database", "background tasks", "ready"]


def probe_durations(service: Service) -> list[float]:
    """How long the probes took that were answered with 503, in milliseconds, as the service measured it."""
    return [float(ms) for ms in re.findall(r"GET /health(?:/live)? 503 ([\d.]+) ms", service.log)]


def database_connections(service: Service, port: int) -> int:
    connections = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(1 for connection in connections if connection.raddr and connection.raddr.port == port)


@pytest.mark.prd("BOOT-01", "HEALTH-01")
def test_the_body_says_all_that_is_known(start: Start) -> None:
    """A ready service lists its stages in order, each done with a time, and the database with the last check."""
    service = start()

    body = service.wait_until_ok()

    assert [stage["name"] for stage in body["stages"]] == STAGES
    assert {stage["state"] for stage in body["stages"]} == {"done"}
    assert all(stage["detail"] and stage["seconds"] >= 0 for stage in body["stages"])
    assert body["database"].keys() == {"status", "since", "checked_at", "latency_ms", "attempts", "reason", "hint"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", body["database"]["checked_at"])
    assert 0 < body["database"]["latency_ms"] < 1000


@pytest.mark.prd("PROBE-02")
@pytest.mark.parametrize("path", ["/health", "/health/live"])
def test_get_and_head(start: Start, path: str) -> None:
    """Both are answered with 200 and may not be cached; HEAD has no body; other methods are refused."""
    service = start()
    service.wait_until_ok()

    get, head, post = (service.ask(path, method) for method in ("GET", "HEAD", "POST"))

    assert (get.status, head.status, post.status) == (200, 200, 405)
    assert get.headers["Cache-Control"] == head.headers["Cache-Control"] == "no-store"
    assert get.headers["Content-Type"] == "application/json"
    assert get.text
    assert not head.text


@pytest.mark.prd("SEC-02")
def test_details_can_be_hidden(start: Start, proxy: Proxy) -> None:
    """HEALTH_DETAILS=false leaves the status alone, up and down, and a request's 503 names no reason either."""
    service = start(HEALTH_DETAILS="false", MYSQL_PORT=proxy.port)
    up = service.wait_until_ok()

    proxy.break_with("refuse")
    down = service.wait_for(lambda body: body["status"] != "ok")
    request = service.ask("/api/test")

    assert up == {"status": "ok", "database": {"status": "up"}}
    assert down == {"status": "unavailable", "database": {"status": "down"}}
    assert (request.status, request.json) == (503, {"status": "unavailable"})


@pytest.mark.prd("PROBE-04")
def test_the_checks_do_not_grow_with_the_probes(start: Start, server: DatabaseServer) -> None:
    """A thousand probes cause no query: the monitor asks once an interval, whoever asks it."""
    service = start(DB_CHECK_INTERVAL=60)
    service.wait_until_ok()
    before = server.status("Questions")

    for _ in range(1000):
        assert service.ask("/health").status == 200

    assert server.status("Questions") - before < 10


@pytest.mark.prd("PROBE-01", "PROBE-05")
def test_200_concurrent_probes_while_the_server_is_frozen(start: Start, server: DatabaseServer) -> None:
    """No probe waits for the frozen database, at most one check is in flight, and liveness stays 200."""
    service = start()
    service.wait_until_ok()
    server.freeze()
    service.wait_for_reason("timeout")

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda n: service.ask("/health/live" if n % 4 == 0 else "/health"), range(200)))
        connections = database_connections(service, server.port)

    assert [answer.status for answer in answers] == [200 if n % 4 == 0 else 503 for n in range(200)]
    assert max(probe_durations(service)) < 100
    assert connections <= 1


@pytest.mark.prd("PROBE-05")
def test_blocked_requests_do_not_slow_the_probes(start: Start, server: DatabaseServer) -> None:
    """With all forty threads of the pool waiting for a frozen database, /health is answered before any of them."""
    service = start(DB_POOL_SIZE=40, DB_CHECK_TIMEOUT=20)
    service.wait_until_ok()

    server.freeze()
    with ThreadPoolExecutor(40) as pool:
        blocked = [pool.submit(service.ask, "/api/test") for _ in range(40)]
        service.wait_for(lambda _: database_connections(service, server.port) >= 40)
        answers = [service.ask(path) for path in ("/health", "/health/live") for _ in range(20)]
        still_blocked = [request for request in blocked if not request.done()]
        server.thaw()

    assert {answer.status for answer in answers} == {200}
    assert len(still_blocked) == 40
    assert {request.result().status for request in blocked} == {200}


def footprint(service: Service) -> dict[str, int]:
    process = psutil.Process(service.process.pid)
    return {"threads": process.num_threads(), "files": process.num_fds(), "bytes": process.memory_info().rss}


def outage(service: Service, proxy: Proxy, fault: str) -> None:
    proxy.break_with(fault)
    service.wait_for(lambda body: body["status"] == "unavailable")
    proxy.heal()
    service.wait_until_ok()


@pytest.mark.prd("HEALTH-07")
def test_100_outages_leave_nothing_behind(start: Start, proxy: Proxy, server: DatabaseServer) -> None:
    """Threads, open files, connections and memory are after a hundred outages what they were after ten."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    for _ in range(10):
        outage(service, proxy, "refuse")
    before = footprint(service)

    for number in range(100):
        outage(service, proxy, ["refuse", "reset", "close"][number % 3])
    service.wait_for(lambda _: footprint(service)["threads"] <= before["threads"])
    after = footprint(service)

    assert after["files"] <= before["files"] + 1  # a poll may be open
    assert after["bytes"] < before["bytes"] + 4_000_000
    service.wait_for(lambda _: len(server.connections()) == 1)


def fresh_health() -> health.Health:
    boot = Boot(Stage("ready", lambda: "done"))
    boot.run("ready", "ready")
    return health.Health(boot)


@pytest.mark.prd("HEALTH-06")
def test_a_stuck_check_is_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the promised news does not come in time, the last good news does not count any more."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr("health.time.monotonic", lambda: clock.now)
    watched = fresh_health()
    watched.publish("up", next_news_within=3, latency_ms=1)

    seen = []
    for passed in (0, 3.4, 0.2):  # half a second late is what a busy machine may be
        clock.now += passed
        seen.append((watched.report()[0], watched.database.status))

    assert seen == [(200, "up"), (200, "up"), (503, "stale")]


@pytest.mark.prd("HEALTH-01")
def test_a_stop_is_not_ready() -> None:
    """From SIGTERM on /health says `stopping`, whatever the database does."""
    watched = fresh_health()
    watched.publish("up", next_news_within=3, latency_ms=1)

    watched.boot.stopping.set()
    status_code, body = watched.report()

    assert (status_code, json.loads(body)["status"]) == (503, "stopping")


@pytest.mark.prd("HEALTH-02")
def test_the_monitor_outlives_any_error(server: DatabaseServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even what no table foresees is an outage that ends, and not the end of the monitor."""
    errors = iter([OSError(24, "Too many open files"), RuntimeError()])
    seen = []

    def unlucky(*args: Any, **options: Any) -> Connection:
        seen.append(watched.database.status)
        for error in errors:
            raise error
        return Connection(*args, **options)

    monkeypatch.setattr("monitor.Connection", unlucky)
    watched = fresh_health()
    watched.publish("up", next_news_within=60)

    Monitor(settings_for(server, db_check_interval=0.05), watched, watched.boot.stopping).start()
    while len(seen) < 3 or watched.database.status != "up":
        time.sleep(0.01)
    watched.boot.stopping.set()

    assert seen[:3] == ["up", "down", "down"]


@pytest.mark.prd("HEALTH-04")
def test_a_server_that_closes_every_connection_is_spared(server: DatabaseServer) -> None:
    """A server that closes each connection as soon as it has answered is not asked for the next one at once."""
    watched = fresh_health()
    began = time.monotonic()

    with fake_mysql(answer=OK) as fake:
        Monitor(settings_for(server, mysql_port=fake.port), watched, watched.boot.stopping).start()
        while fake.logins < 10:
            time.sleep(0.01)
        watched.boot.stopping.set()

    assert time.monotonic() - began >= 9 * 0.05


@pytest.mark.prd("WAIT-01")
def test_attempts_count_an_outage() -> None:
    """`attempts` grows with every failed try, says at last what it took, and begins anew with the next outage."""
    watched = fresh_health()
    fault: Any = SimpleNamespace(reason="timeout", hint="")
    seen = []

    for status in ("waiting", "waiting", "up", "up", "down", "down", "up"):
        watched.publish(status, 1, None if status == "up" else fault)
        seen.append(watched.database.attempts)

    assert seen == [1, 2, 3, 3, 1, 2, 3]


@pytest.mark.prd("BOOT-03")
def test_before_the_routers_a_path_is_not_missing_but_not_there_yet(start: Start, slow_routers: Path) -> None:
    """While the routers are being loaded, /api/ answers 503, not 404, and /health says `starting`."""
    service = start(folder=slow_routers)

    body = service.wait_for(lambda body: body["stages"][3]["state"] == "running")
    early, unknown = service.ask("/api/"), service.ask("/nothing")
    slow_routers.joinpath("go").touch()
    service.wait_until_ok()

    assert (body["status"], body["database"]["status"]) == ("starting", "waiting")
    assert (early.status, early.headers["Retry-After"], unknown.status) == (503, "1", 503)
    assert (service.ask("/api/").status, service.ask("/nothing").status) == (200, 404)
