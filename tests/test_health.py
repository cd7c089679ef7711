"""/health and /health/live: what they say, at once, whatever the database does."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from database_server import DatabaseServer
from process import Service, Start
from proxy import Proxy

from health import Snapshot
from main import BEFORE_PORT, BEHIND_PORT


def database_connections(service: Service, port: int) -> int:
    connections = psutil.Process(service.process.pid).net_connections("tcp")
    return sum(1 for connection in connections if connection.raddr and connection.raddr.port == port)


@pytest.mark.prd("BOOT-01", "HEALTH-01")
def test_the_body_says_all_that_is_known(start: Start) -> None:
    """A ready service lists its stages in order, each done with a time, and the database with the last check."""
    service = start()

    body = service.wait_until_ok()

    assert [stage["name"] for stage in body["stages"]] == [stage.name for stage in (*BEFORE_PORT, *BEHIND_PORT)]
    assert {stage["state"] for stage in body["stages"]} == {"done", "skipped"}
    assert all(stage["detail"] and stage["seconds"] >= 0 for stage in body["stages"])
    assert body["database"].keys() == {*Snapshot._fields, "required"}
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
    """HEALTH_DETAILS=false shows only the status, up and down, and a request's 503 names no reason either."""
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
    """A thousand probes cause no query: the watcher asks once an interval, whoever asks it."""
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
    assert connections <= 1


@pytest.mark.prd("PROBE-05")
def test_blocked_requests_do_not_slow_the_probes(start: Start, server: DatabaseServer) -> None:
    """With all forty threads of the pool waiting for a frozen database, /health is answered before any of them."""
    service = start(DB_POOL_SIZE=40, DB_CHECK_TIMEOUT=20, DB_CONNECT_TIMEOUT=20)
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


@pytest.mark.prd("BOOT-03")
def test_before_the_routers_a_path_is_not_missing_but_not_there_yet(start: Start, tmp_path: Path) -> None:
    """While the routers are being loaded, /api/ answers 503, not 404, and /health says `starting`."""
    service = start(program="late_routers")
    service.wait_for_stage("routers")

    early, unknown, body = service.ask("/api/"), service.ask("/nothing"), service.health()
    (tmp_path / "go").touch()
    service.wait_until_ok()

    assert (body["status"], body["database"]["status"]) == ("starting", "waiting")
    assert (early.status, early.headers["Retry-After"], unknown.status) == (503, "1", 503)
    assert early.json["reason"] == "starting"
    assert (service.ask("/api/").status, service.ask("/nothing").status) == (200, 404)


@pytest.mark.prd("HEALTH-08")
def test_an_optional_component(start: Start, tmp_path: Path) -> None:
    """A component that is not required makes the service `degraded` while it is away, and /health stays 200."""
    service = start(program="second_component optional")

    away = service.wait_for(lambda body: body["status"] == "degraded" and body["switch"]["status"] == "down")
    code = service.ask("/health").status
    (tmp_path / "go").touch()
    back = service.wait_until_ok()

    assert (code, away["database"]["status"]) == (200, "up")
    assert (away["switch"]["status"], away["switch"]["reason"], away["switch"]["required"]) == (
        "down", "connection_refused", False,
    )  # fmt: skip
    assert (back["switch"]["status"], back["switch"]["latency_ms"]) == ("up", 1.5)
    assert "switch" in service.ask("/health/history").json


@pytest.mark.prd("HEALTH-08")
def test_a_required_component(start: Start, tmp_path: Path) -> None:
    """A component that is required is waited for, and while it is away the service is not ready."""
    service = start(program="second_component required")

    waiting = service.wait_for(lambda body: body.get("switch", {}).get("reason") == "connection_refused")
    (tmp_path / "go").touch()
    service.wait_until_ok()
    (tmp_path / "go").unlink()
    down = service.wait_for(lambda body: body["status"] == "unavailable")

    assert (waiting["status"], waiting["wait"]["component"], waiting["wait"]["exit_code"]) == ("starting", "switch", 69)
    assert (down["database"]["status"], down["switch"]["status"]) == ("up", "down")


@pytest.mark.prd("HEALTH-08")
def test_a_required_component_that_does_not_come(start: Start) -> None:
    """The wait for it ends like that for the database: with 69, and a line that names it."""
    service = start(program="second_component required")

    assert service.exit_code() == 69
    assert "external services: failed, the switch at switch:1 was not usable" in service.log


@pytest.mark.prd("BOOT-01")
def test_a_slow_stage_does_not_make_the_database_stale(start: Start) -> None:
    """The watch begins right after the wait: a stage of five seconds later /health is fresh, and requests work."""
    service = start(program="slow_stage 5")
    service.wait_for_log("working")

    bodies, requests = [], []
    while "worked" not in service.log:
        bodies.append(service.health())
        requests.append(service.ask("/api/test").status)
        time.sleep(0.1)
    service.wait_until_ok()

    assert {body["database"]["status"] for body in bodies} == {"up"}
    assert set(requests) == {200}


@pytest.mark.prd("PROBE-06")
def test_no_middleware_touches_a_probe(start: Start) -> None:
    """A middleware that sleeps, raises and asks for a login does so to every path but those of the probes."""
    service = start(program="obstacle", may_trace=True)
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        broken = pool.submit(service.ask, "/docs")
        login = service.ask("/api/")
        probes = [service.ask(path).status for path in ("/health", "/health/live", "/health/history")]

    assert (login.status, broken.result().status) == (401, 500)
    assert probes == [200, 200, 200]
