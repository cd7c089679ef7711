"""The endpoints for administrators: what is scheduled and has run, changes, and a run now."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import pytest
from database_server import DatabaseServer
from process import Answer, Service, Start

PASSWORD = "the password of the tests"
ACCOUNTS = {"JWT_SECRET": "the key of the tests, which is long enough", "ADMIN_PASSWORD": PASSWORD}
Ask = Callable[..., Answer]


@pytest.fixture
def service(start: Start, server: DatabaseServer) -> Service:
    """With the jobs of the tests, one of which is due once a year."""
    service = start(program="jobs_of_tests", JOBS="on", **ACCOUNTS)
    service.wait_until_ok()
    server.sql("CREATE TABLE app.traces (job VARCHAR(64), moment DATETIME(6), what VARCHAR(8), at DATETIME(6))")
    server.sql("INSERT INTO app.scheduled_jobs (name, func, cron) VALUES ('yearly', 'trace', '@every 366d')")
    service.wait_for(lambda _: not server.sql("SELECT 1 FROM app.scheduled_jobs WHERE status <> 'scheduled'"))
    return service


@pytest.fixture
def ask(service: Service) -> Ask:
    """Asks as the administrator."""
    form = urlencode({"username": "admin", "password": PASSWORD})
    login = service.ask("/api/login", "POST", {"Content-Type": "application/x-www-form-urlencoded"}, body=form)
    headers = {"Authorization": f"Bearer {login.json['access_token']}", "Content-Type": "application/json"}

    def ask(path: str, method: str = "GET", body: object = None) -> Answer:
        return service.ask(f"/api/jobs{path}", method, headers, body=json.dumps(body) if body is not None else None)

    return ask


def runs_until(ask: Ask, service: Service, job: str, what: Callable[[list[Any]], bool]) -> list[Any]:
    """Asks for the runs of a job until they are as wanted, and returns them."""
    runs: list[Any] = []

    def are_as_wanted(_: object) -> bool:
        runs[:] = ask(f"/{job}/runs").json
        return what(runs)

    service.wait_for(are_as_wanted)
    return runs


@pytest.mark.prd("JOB-05")
def test_a_run_now(ask: Ask, service: Service) -> None:
    """202 with the run's id; the run is in the lists; the schedule stays as it was."""
    begun = ask("/yearly/run", "POST")
    runs = runs_until(ask, service, "yearly", lambda runs: [run["state"] for run in runs] == ["succeeded"])
    [job] = [job for job in ask("").json if job["name"] == "yearly"]

    assert begun.status == 202
    assert [run["id"] for run in runs] == [begun.json["run"]] == [run["id"] for run in job["runs"]]
    assert runs[0]["started_at"].endswith("Z")
    assert (job["status"], job["enabled"], job["running_for"]) == ("scheduled", True, None)
    assert job["next_run_at"] > job["last_run_at"]


def test_a_run_now_does_not_overlap(ask: Ask, service: Service) -> None:
    """409 while a run is under way."""
    assert ask("/yearly", "PATCH", {"kwargs": {"seconds": 600}}).status == 200
    first = ask("/yearly/run", "POST")

    second = ask("/yearly/run", "POST")

    assert (first.status, second.status) == (202, 409)
    assert "under way" in second.json["detail"]
    service.process.kill()


@pytest.mark.prd("JOB-05")
def test_a_change_counts_at_once(ask: Ask, service: Service) -> None:
    """Cron, zone, arguments and the switch; what is left out stays."""
    changed = ask("/yearly", "PATCH", {"cron": "30 0 1 1 *", "timezone": "Asia/Seoul", "kwargs": {"seconds": 0.1}})
    off = ask("/yearly", "PATCH", {"enabled": False})
    on = ask("/yearly", "PATCH", {"enabled": True, "cron": "@every 1s"})
    runs = runs_until(ask, service, "yearly", lambda runs: bool(runs))

    assert changed.json["next_run_at"].endswith("-12-31T15:30:00Z")
    assert (changed.json["status"], changed.json["kwargs"]) == ("scheduled", {"seconds": 0.1})
    assert (off.json["enabled"], off.json["next_run_at"], off.json["cron"]) == (False, None, "30 0 1 1 *")
    assert on.json["next_run_at"] is not None
    assert runs[-1]["state"] in {"running", "succeeded"}


@pytest.mark.prd("JOB-05")
@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"cron": "0 25 * * *"}, "cron", "field 2 (hour) cannot be '25'"),
        ({"timezone": "Europe/Atlantis", "cron": "0 0 * * *"}, "timezone", "none of the IANA zones"),
        ({"cron": "0" + ",0" * 130 + " * * * *"}, "cron", "has 269 characters and may have"),
        ({"kwargs": {"hours": 1}}, "kwargs", "unexpected keyword argument 'hours'"),
        ({"name": "other"}, "name", "Extra inputs are not permitted"),
    ],
)
def test_a_mistake_is_422_with_the_place(ask: Ask, change: object, field: str, words: str) -> None:
    """Nothing is changed."""
    before = ask("").json

    answer = ask("/yearly", "PATCH", change)

    assert answer.status == 422
    assert answer.json["detail"][0]["loc"] == ["body", field]
    assert words in answer.json["detail"][0]["msg"]
    assert [job["cron"] for job in ask("").json] == [job["cron"] for job in before]


@pytest.mark.prd("JOB-05")
def test_only_administrators(ask: Ask, service: Service, start: Start) -> None:
    """401 without a token, 404 for an unknown name, 405 for a removal; without JOBS=on there are no such paths."""
    anonymous = [service.ask(f"/api/jobs{path}", method) for path, method in (("", "GET"), ("/yearly/run", "POST"))]
    unknown = [ask("/nobody", "PATCH", {}), ask("/nobody/run", "POST"), ask("/nobody/runs")]
    removal = ask("/yearly", "DELETE")
    other = start(**ACCOUNTS)
    other.wait_until_ok()

    assert [answer.status for answer in anonymous] == [401, 401]
    assert [answer.status for answer in unknown] == [404, 404, 404]
    assert removal.status == 405
    assert other.ask("/api/jobs").status == 404
