"""/api/ and the documentation, and what requests get while the database or the pool fails."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from database_server import DatabaseServer
from process import Service, Start
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect


@pytest.mark.prd("API-01")
def test_the_routes(start: Start) -> None:
    """/api/ answers by itself, /api/test after a real round trip, and the documentation is there."""
    service = start(APP_NAME="tried")
    service.wait_until_ok()

    root, test, docs = (service.ask(path) for path in ("/api/", "/api/test", "/openapi.json"))

    assert (root.status, root.json) == (200, {"status": "ok", "message": "FastAPI is running"})
    assert (test.status, test.json["status"], test.json["message"]) == (200, "ok", "API test endpoint")
    assert test.json["database_time"]
    assert docs.json["info"]["title"] == "tried"
    assert {"/health", "/health/live", "/api/", "/api/test"} <= docs.json["paths"].keys()
    assert {service.ask(path).status for path in ("/docs", "/redoc", "/static-offline-docs/swagger-ui-bundle.js")} == {
        200
    }


@pytest.mark.prd("API-03")
def test_an_exhausted_pool_is_a_503(start: Start, server: DatabaseServer) -> None:
    """A request that gets no connection in DB_POOL_TIMEOUT is told to come again, with the reason."""
    service = start(DB_POOL_SIZE=1, DB_MAX_OVERFLOW=0, DB_POOL_TIMEOUT=0.5, DB_READ_TIMEOUT=3)
    service.wait_until_ok()
    server.freeze()

    with ThreadPoolExecutor() as pool:
        requests = [pool.submit(service.ask, "/api/test") for _ in range(3)]
        answers = [request.result() for request in requests]
        server.thaw()

    assert {answer.status for answer in answers} == {503}
    assert {answer.headers["Retry-After"] for answer in answers} == {"1"}
    assert sorted(answer.json["reason"] for answer in answers) == ["pool_exhausted", "pool_exhausted", "timeout"]


@pytest.mark.prd("API-02")
def test_a_statement_that_is_silent_for_too_long_is_a_503(start: Start) -> None:
    """A statement may be silent for DB_READ_TIMEOUT, whatever a login may take, and the database stays up."""
    patient = start(program="sleeping_statement 1", DB_CONNECT_TIMEOUT=0.5)
    hasty = start(program="sleeping_statement 1", DB_READ_TIMEOUT=0.5)
    for service in (patient, hasty):
        service.wait_until_ok()

    enough = [patient.ask("/sleep") for _ in range(2)]  # over a new connection, and over that of the pool
    too_little = hasty.ask("/sleep")

    assert [answer.status for answer in enough] == [200, 200]
    assert (too_little.status, too_little.json["reason"]) == (503, "timeout")
    assert hasty.ask("/health").status == 200


@pytest.mark.prd("API-02")
def test_a_connection_lost_after_the_answer(start: Start) -> None:
    """A connection that dies when the answer is made changes nothing about it, and the pool says nothing of it."""
    service = start(program="killed_connection")
    service.wait_until_ok()

    answers = [service.ask(path).status for path in ("/killed", "/api/test")]

    assert answers == [200, 200]
    assert "sqlalchemy.pool" not in service.log


@pytest.mark.prd("API-04")
@pytest.mark.parametrize("path", ["/table", "/column", "/runtime"])
def test_a_mistake_in_an_endpoint_is_a_500(start: Start, path: str) -> None:
    """A mistake is no outage: a 500 of the one form with its request id, whose traceback is in the log alone."""
    service = start(program="mistakes", may_trace=True)
    service.wait_until_ok()

    answer = service.ask(path)

    assert (answer.status, answer.json["status"], answer.json["reason"]) == (500, "error", "unexpected")
    assert answer.headers["X-Request-ID"] in answer.json["hint"]
    service.wait_for_log(f"[{answer.headers['X-Request-ID']}] GET {path} 500")
    service.wait_for_log("Traceback")
    assert "confidential" not in answer.text
    assert path == "/runtime" or "confidential" not in service.log  # a statement's values are not logged
    assert service.ask("/health").status == 200


@pytest.mark.prd("API-04")
def test_what_an_endpoint_refuses_keeps_its_detail(start: Start) -> None:
    """An HTTPException, and a path or a method that does not exist, are answered as FastAPI's users know it."""
    service = start(program="mistakes")
    service.wait_until_ok()

    answers = [service.ask(path, method) for path, method in (("/teapot", "GET"), ("/no", "GET"), ("/api/", "PUT"))]

    assert [answer.status for answer in answers] == [418, 404, 405]
    assert [answer.json for answer in answers] == [
        {"detail": "no coffee"}, {"detail": "Not Found"}, {"detail": "Method Not Allowed"},
    ]  # fmt: skip


@pytest.mark.prd("API-03")
def test_no_thread_left_is_a_503(start: Start) -> None:
    """Running out of threads is a shortage like any other, and no traceback."""
    service = start(program="thread_hungry")
    service.wait_until_ok()

    answer = service.ask("/threads")

    assert (answer.status, answer.json["reason"], answer.headers["Retry-After"]) == (503, "no_thread", "1")


def test_a_socket_that_misses_something_is_closed(start: Start) -> None:
    """A WebSocket is closed with 1013, "try again later"; before its accept a client sees 403. No error is logged."""
    service = start(program="unavailable_sockets")
    service.wait_until_ok()
    address = f"ws://127.0.0.1:{service.port}/socket/"
    codes = {}

    for when in ("after_accept", "without_thread", "after_close"):
        with connect(address + when) as socket, pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        codes[when] = socket.close_code
    with pytest.raises(InvalidStatus, match="HTTP 403"), connect(address + "before_accept"):
        pass
    with connect(address + "after_client"):
        pass  # and away
    service.terminate()

    assert codes == {"after_accept": 1013, "without_thread": 1013, "after_close": 1000}
    assert " ERROR " not in service.log


@pytest.mark.prd("API-02")
def test_locks_have_reasons_of_their_own(start: Start, server: DatabaseServer, tmp_path: Path) -> None:
    """A deadlock and a lock that is not given up are 503 with their own reason; the database stays up."""
    service = start(program="deadlock")
    service.wait_until_ok()
    server.sql("CREATE TABLE app.locked (id INT PRIMARY KEY, touched INT)", "INSERT app.locked VALUES (1, 0), (2, 0)")

    with ThreadPoolExecutor() as pool:
        crossing = [pool.submit(service.ask, path) for path in ("/lock/1/2", "/lock/2/1")]
        for row in (1, 2):
            service.wait_for_log(f"locked {row}")
        waiting = service.ask("/lock/1/2")
        (tmp_path / "go").touch()
        answers = [request.result() for request in crossing]

    assert (waiting.status, waiting.json["reason"]) == (503, "lock_timeout")
    assert {(answer.status, answer.json["reason"]) for answer in answers if answer.status != 200} <= {
        (503, "deadlock"), (503, "lock_timeout"),
    }  # fmt: skip
    assert sorted(answer.status for answer in answers) in ([200, 503], [503, 503])
    assert service.ask("/health").status == 200


def sorted_load(service: Service, path: str, clients: int, requests: int) -> list[int]:
    """The status codes of so many requests, `clients` at a time, each over a connection of its own."""
    with ThreadPoolExecutor(clients) as pool:
        return sorted(pool.map(lambda _: service.ask(path).status, range(requests)))


@pytest.mark.prd("API-05")
@pytest.mark.parametrize("path", ["/api/test", "/untyped"])
def test_more_clients_than_connections_and_threads(start: Start, path: str) -> None:
    """With 200 clients at once every request is served, with or without a response model: none starves another."""
    service = start(program="untyped")
    service.wait_until_ok()

    codes = sorted_load(service, path, clients=200, requests=1000)

    assert codes == [200] * 1000
    assert service.ask(path).status == 200


@pytest.mark.prd("API-03")
def test_a_place_is_waited_for_no_longer_than_the_timeout(start: Start) -> None:
    """Who waits for a connection for longer than DB_POOL_TIMEOUT is told so; who has one is served."""
    service = start(program="sleeping_statement 2", DB_POOL_SIZE=1, DB_MAX_OVERFLOW=0, DB_POOL_TIMEOUT=0.5)
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        answers = [request.result() for request in [pool.submit(service.ask, "/sleep") for _ in range(3)]]

    assert sorted(answer.status for answer in answers) == [200, 503, 503]
    assert {answer.json["reason"] for answer in answers if answer.status == 503} == {"pool_exhausted"}


@pytest.mark.prd("API-03")
def test_a_hundred_logins_at_once_need_no_thread_each(start: Start, server: DatabaseServer) -> None:
    """With 80 connections in the pool and 100 requests at once the process stays far below a container's pids_limit."""
    service = start(DB_POOL_SIZE=40, DB_MAX_OVERFLOW=40, DB_POOL_TIMEOUT=30)
    service.wait_until_ok()

    codes = sorted_load(service, "/api/test", clients=100, requests=300)

    assert codes == [200] * 300
    assert psutil.Process(service.process.pid).num_threads() < 64
