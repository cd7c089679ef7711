"""The database goes away and comes back: stopped, killed, crashed, frozen, restarted, or not there from the start."""

import threading
import time
from datetime import datetime

import pytest
from compose.stack import Answer, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

IMPATIENT = """
services:
  mysql:
    healthcheck: {start_period: 1s, interval: 1s, retries: 1}
"""
GONE = ("dns_failed", "connection_refused", "connection_lost", "server_stopping", "timeout")


def assert_same_process(stack: Stack, before: datetime) -> None:
    state = stack.state("fastapi")
    assert (state.status, state.restarts, state.started) == ("running", 0, before)


@pytest.mark.prd("WAIT-01", "RESTART-04")
def test_service_alone_waits_gives_up_and_heals(stack: Stack) -> None:
    """Without MySQL: 503 with progress, exit 69, restarted by the policy; ready by itself soon after MySQL is."""
    stack.set(DB_WAIT_TIMEOUT=3)
    stack.compose("rm", "--stop", "--force", "fastapi")
    stack.compose("stop", "mysql")
    began = stack.now()

    stack.compose("up", "--detach", "--no-deps", "fastapi")
    waiting = stack.until_reason("dns_failed", "connection_refused")
    live = stack.get("/health/live")
    stack.until(lambda: stack.state("fastapi").restarts >= 2)
    restarts = stack.state("fastapi").restarts
    stack.compose("start", "mysql")
    stack.until_status(200)
    ready, served = stack.ready_at("mysql", began), stack.ready_at("fastapi", began)

    assert waiting.body["status"] == "starting"
    assert waiting.body["database"]["status"] == "waiting"
    detail = next(stage["detail"] for stage in waiting.body["stages"] if stage["name"] == "database")
    assert "s left" in detail
    assert live.status == 200
    assert restarts >= 2
    assert set(stack.exit_codes("fastapi", began)) == {69}
    log = stack.log("fastapi", began)
    assert "waiting for the database at mysql:3306" in log
    assert "Exit code 69." in log
    stack.tell(f"200 came {served - ready:.2f} s after MySQL was ready, with {restarts} restarts before")
    assert served - ready < 8, "the back-off of the engine is at most a few seconds here"


@pytest.mark.prd("RESTART-04")
def test_wait_ends_at_once_with_mysql(stack: Stack) -> None:
    """While the service waits in its process, it is ready at most 1.5 s after MySQL."""
    stack.compose("stop", "mysql")
    stack.compose("restart", "fastapi")
    began = stack.now()
    stack.until_reason("dns_failed", "connection_refused")

    stack.compose("start", "mysql")
    stack.until_status(200)

    late = stack.ready_at("fastapi", began) - stack.ready_at("mysql", began)
    stack.tell(f"200 came {late:.2f} s after MySQL was ready, without a restart")
    assert late < 1.5
    assert stack.state("fastapi").restarts == 0


@pytest.mark.prd("RESTART-05")
def test_stop_and_start_mysql(stack: Stack) -> None:
    """Stopped: 503 with the reason, then `unhealthy`, and nothing restarts the service; started: 200 by itself."""
    before, began = stack.state("fastapi").started, stack.now()

    stack.compose("stop", "mysql")
    down = stack.until_reason(*GONE)
    api, live = stack.get("/api/test"), stack.get("/health/live")
    stack.until(lambda: "(unhealthy)" in stack.ps("fastapi"))
    check = stack.health_log("fastapi")[-1]
    stopped = stack.state("mysql")
    stack.compose("start", "mysql")
    seconds = stack.until(lambda: stack.get().status == 200)

    assert down.body["status"] == "unavailable"
    assert down.body["database"]["status"] == "down"
    assert api.status == 503
    assert live.status == 200
    assert check["ExitCode"] == 1
    assert check["Output"].startswith("unavailable: database down: ")
    assert (stopped.status, stopped.exit_code) == ("exited", 0)
    assert_same_process(stack, before)
    assert stack.get("/api/test").status == 200
    log = stack.log("fastapi", began)
    assert "database down: " in log
    assert "database up again after" in log
    stack.tell(f"reason {down.reason}; 200 again {seconds:.2f} s after `start mysql` returned")
    stack.until(lambda: "(healthy)" in stack.ps("fastapi"))


@pytest.mark.prd("RESTART-05")
def test_kill_mysql(stack: Stack) -> None:
    """Killed by `docker compose kill`: 503 at once, and it stays down until someone starts it."""
    before = stack.state("fastapi").started

    stack.compose("kill", "mysql")
    killed_at = time.monotonic()
    down = stack.until_reason(*GONE)
    noticed = time.monotonic() - killed_at
    stack.stays(lambda: stack.state("mysql").status == "exited")
    killed = stack.state("mysql")
    stack.compose("start", "mysql")
    stack.until_status(200)

    assert down.body["database"]["status"] == "down"
    assert noticed < 2
    assert killed.exit_code == 137
    assert_same_process(stack, before)


@pytest.mark.prd("RESTART-03")
def test_crash_of_mysql(mysql_stack: Stack) -> None:
    """Killed by anything but the engine, as when memory runs out: the engine restarts it, and the service heals."""
    stack = mysql_stack
    before, restarts = stack.state("fastapi").started, stack.state("mysql").restarts

    stack.kill_process("mysql")
    down = stack.until_reason(*GONE)
    stack.until_status(200)

    assert down.status == 503
    assert stack.state("mysql").restarts == restarts + 1
    assert_same_process(stack, before)


@pytest.mark.prd("RESTART-06")
def test_pause_and_unpause_mysql(stack: Stack) -> None:
    """Frozen: 503 with `timeout` after interval and timeout of the check, while /health stays quick; thawed: 200."""
    before, began = stack.state("fastapi").started, stack.now()

    stack.compose("pause", "mysql")
    seconds = stack.until(lambda: stack.get(timeout=1).status == 503, 10)
    frozen = stack.get(timeout=1)
    live = stack.get("/health/live", timeout=1)
    ps = stack.ps("mysql")
    stack.compose("unpause", "mysql")
    healed = stack.until(lambda: stack.get().status == 200)

    assert frozen.reason == "timeout"
    assert live.status == 200
    assert "(Paused)" in ps
    assert seconds < 5, "DB_CHECK_INTERVAL 1 s + DB_CHECK_TIMEOUT 2 s, and some slack"
    assert_same_process(stack, before)
    assert "database down: timeout" in stack.log("fastapi", began)
    stack.tell(f"503 after {seconds:.2f} s, 200 again {healed:.2f} s after `unpause mysql` returned")


@pytest.mark.prd("RESTART-07")
def test_restart_mysql_under_load(mysql_stack: Stack) -> None:
    """While MySQL restarts, each request is answered, with 200 or 503, never 500; afterwards all are 200."""
    stack = mysql_stack
    before = stack.state("fastapi").started
    answers: list[tuple[Answer, float]] = []
    over = threading.Event()

    def ask() -> None:
        while not over.wait(0.02):
            began = time.monotonic()
            answers.append((stack.get("/api/test"), time.monotonic() - began))

    clients = [threading.Thread(target=ask) for _ in range(8)]
    for client in clients:
        client.start()
    stack.until(lambda: len(answers) > 50)
    stack.compose("restart", "mysql")
    stack.until_status(200)
    healed_at = len(answers)
    stack.until(lambda: len(answers) > healed_at + 100)
    over.set()
    for client in clients:
        client.join()

    statuses = [answer.status for answer, _ in answers]
    slowest = max(seconds for _, seconds in answers)
    assert set(statuses) == {200, 503}
    assert set(statuses[-50:]) == {200}
    assert slowest < 6, "DB_POOL_TIMEOUT 5 s, and some slack"
    assert_same_process(stack, before)
    stack.tell(f"{statuses.count(200)} answers 200, {statuses.count(503)} answers 503, slowest {slowest:.2f} s")


@pytest.mark.prd("RESTART-08")
def test_wrong_password_for_an_old_volume(stack: Stack) -> None:
    """A password changed in `.env` after the first start: 77, the hint names the volume; the old one heals it."""
    stack.override(IMPATIENT)
    stack.set(MYSQL_PASSWORD="another one")
    began = stack.now()

    up = stack.try_compose("up", "--detach", "--wait")
    mysql, check = stack.state("mysql"), stack.health_log("mysql")[-1]
    stack.until(lambda: stack.exit_codes("fastapi", began).count(77) >= 2)
    log = stack.log("fastapi")
    stack.reset()
    stack.up()

    assert up.returncode != 0
    assert mysql.health == "unhealthy", "MySQL's own check uses the app's account, so it does not pass either"
    assert "Access denied" in check["Output"]
    assert "access_denied" in log
    assert "The data volume keeps the first password." in log
    assert "Exit code 77." in log
    assert "another one" not in log
    assert stack.get().status == 200
