"""/api/ and the documentation, and what requests get while the database or the pool fails."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import DatabaseServer
from service import Changed, Start


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
    assert {service.ask(path).status for path in ("/docs", "/redoc")} == {200}


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
def test_a_statement_that_is_silent_for_too_long_is_a_503(start: Start, changed: Changed) -> None:
    """A statement may be silent for DB_READ_TIMEOUT, whatever a check may take, and the database stays up."""
    folder = changed("api.py", "SELECT NOW()", "SELECT SLEEP(1)")
    patient, hasty = start(folder=folder, DB_CHECK_TIMEOUT=0.5), start(folder=folder, DB_READ_TIMEOUT=0.5)
    for service in (patient, hasty):
        service.wait_until_ok()

    enough = [patient.ask("/api/test") for _ in range(2)]  # over a new connection, and over that of the pool
    too_little = hasty.ask("/api/test")

    assert [answer.status for answer in enough] == [200, 200]
    assert (too_little.status, too_little.json["reason"]) == (503, "timeout")
    assert hasty.ask("/health").status == 200


def with_route(changed: Changed, route: str) -> Path:
    """A service that has one more endpoint."""
    return changed("api.py", '@router.get("/test"', f'{route}\n\n@router.get("/test"')


KILLED = """
@router.get("/killed")
def killed(db: Annotated[Session, Depends(get_db)]) -> None:
    number = db.scalar(text("SELECT CONNECTION_ID()"))
    from database import SessionLocal
    with SessionLocal() as other:
        other.execute(text(f"KILL {number}"))
"""


@pytest.mark.prd("API-02")
def test_a_connection_lost_after_the_answer(start: Start, changed: Changed) -> None:
    """A connection that dies when the answer is made changes nothing about it, and the pool says nothing of it."""
    service = start(folder=with_route(changed, KILLED))
    service.wait_until_ok()

    answers = [service.ask(path).status for path in ("/api/killed", "/api/test")]

    assert answers == [200, 200]
    assert "sqlalchemy.pool" not in service.log


BROKEN = """
@router.get("/broken/{statement}")
def broken(statement: int, db: Annotated[Session, Depends(get_db)]) -> None:
    statements = ["SELECT * FROM no_such_table WHERE name = :name", "SELECT no_such_column, :name FROM a_table"]
    db.execute(text("CREATE TABLE IF NOT EXISTS a_table (id INT)"))
    db.execute(text(statements[statement]), {"name": "confi" + "dential"})
"""


@pytest.mark.prd("API-04")
def test_a_mistake_in_a_statement_stays_a_500(start: Start, changed: Changed) -> None:
    """A statement that is wrong is not an outage: 500 without details, and no value of the statement in the log."""
    service = start(folder=with_route(changed, BROKEN), may_trace=True)
    service.wait_until_ok()

    answers = [service.ask(f"/api/broken/{statement}") for statement in (0, 1)]

    assert [(answer.status, answer.text) for answer in answers] == [(500, "Internal Server Error")] * 2
    assert all(f"[{answer.headers['X-Request-ID']}] GET /api/broken/" in service.log for answer in answers)
    service.wait_for_log("no_such_table")
    service.wait_for_log("no_such_column")
    assert "confidential" not in service.log
    assert service.ask("/health").status == 200
