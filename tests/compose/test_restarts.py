"""The service itself is stopped, restarted, killed or multiplied: what the restart policy does and does not."""

import time

import pytest
from compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]


@pytest.mark.prd("RESTART-01")
def test_stop_is_clean_and_final(mysql_stack: Stack) -> None:
    """`stop fastapi`: exit 0 within 2 s, and no restart."""
    stack, began = mysql_stack, mysql_stack.now()

    asked_at = time.monotonic()
    stack.compose("stop", "fastapi")
    seconds = time.monotonic() - asked_at
    stack.stays(lambda: stack.state("fastapi").status == "exited")

    assert seconds < 2
    assert stack.state("fastapi").exit_code == 0
    assert stack.exit_codes("fastapi", began) == [0]
    assert "Exited (0)" in stack.ps("fastapi")
    assert "stopped, exit code 0" in stack.log("fastapi", began)
    stack.tell(f"`stop fastapi` took {seconds:.2f} s")


@pytest.mark.prd("RESTART-01")
def test_stop_while_waiting_is_clean_too(mysql_stack: Stack) -> None:
    """A stop in the middle of the wait for MySQL: exit 0 within 2 s."""
    stack = mysql_stack
    stack.compose("stop", "mysql")
    stack.compose("restart", "fastapi")
    stack.until_reason("dns_failed", "connection_refused")

    asked_at = time.monotonic()
    stack.compose("stop", "fastapi")
    seconds = time.monotonic() - asked_at

    assert seconds < 2
    assert stack.state("fastapi").exit_code == 0


@pytest.mark.prd("RESTART-01")
def test_restart_is_clean(mysql_stack: Stack) -> None:
    """`restart fastapi`: exit 0, serving again, and not counted as a restart by the policy."""
    stack, began = mysql_stack, mysql_stack.now()
    before = stack.state("fastapi").started

    stack.compose("restart", "fastapi")
    stack.until_status(200)

    assert stack.exit_codes("fastapi", began) == [0]
    assert stack.state("fastapi").restarts == 0
    assert stack.state("fastapi").started > before


@pytest.mark.prd("RESTART-02")
@pytest.mark.parametrize(("signal", "exit_code"), [("TERM", 0), ("KILL", 137)])
def test_kill_through_the_engine_is_final(mysql_stack: Stack, signal: str, exit_code: int) -> None:
    """`docker compose kill` is a wish of the user: whatever the exit code, the engine does not restart it."""
    stack = mysql_stack

    stack.compose("kill", "--signal", signal, "fastapi")
    stack.until(lambda: stack.state("fastapi").status == "exited")
    stack.stays(lambda: stack.state("fastapi").status == "exited")

    assert stack.state("fastapi").exit_code == exit_code
    assert stack.state("fastapi").restarts == 0
    assert f"Exited ({exit_code})" in stack.ps("fastapi")


@pytest.mark.prd("RESTART-02")
def test_sigterm_from_inside_is_no_failure(mysql_stack: Stack) -> None:
    """SIGTERM that the engine knows nothing of: exit 0, which `on-failure` does not restart."""
    stack = mysql_stack

    stack.compose("exec", "fastapi", "sh", "-c", "kill -TERM 1")
    stack.until(lambda: stack.state("fastapi").status == "exited")
    stack.stays(lambda: stack.state("fastapi").status == "exited")

    assert stack.state("fastapi").exit_code == 0
    assert stack.state("fastapi").restarts == 0


@pytest.mark.prd("RESTART-03")
def test_crash_is_restarted(mysql_stack: Stack) -> None:
    """SIGKILL that the engine knows nothing of, as when memory runs out: exit 137, restarted, serving by itself."""
    stack, began = mysql_stack, mysql_stack.now()

    stack.kill_process("fastapi")
    stack.until(lambda: stack.state("fastapi").restarts == 1)
    seconds = stack.until(lambda: stack.get().status == 200)
    stack.until(lambda: stack.state("fastapi").health == "healthy")

    assert stack.exit_codes("fastapi", began) == [137]
    stack.tell(f"200 again {seconds:.2f} s after the restart")


@pytest.mark.prd("RESTART-03")
def test_crash_after_other_signals_is_restarted(mysql_stack: Stack) -> None:
    """A signal that asks for no stop, such as HUP, leaves the restart policies of both containers as they are."""
    stack = mysql_stack
    restarts = stack.state("mysql").restarts

    for signal in ("HUP", "USR1", "QUIT"):
        stack.compose("kill", "--signal", signal, "fastapi")
    stack.compose("kill", "--signal", "HUP", "mysql")
    stack.kill_process("fastapi")
    stack.kill_process("mysql")
    stack.until(lambda: stack.state("fastapi").restarts == 1)
    stack.until(lambda: stack.state("mysql").restarts == restarts + 1)
    stack.until_status(200)


@pytest.mark.prd("RESTART-07")
def test_restart_mysql_ten_times(mysql_stack: Stack) -> None:
    """Stopped again while it starts, MySQL ends by itself, not by SIGKILL after 60 s."""
    stack, began = mysql_stack, mysql_stack.now()

    for _ in range(10):
        stack.compose("restart", "mysql")
    stack.until_status(200)

    codes = stack.exit_codes("mysql", began)
    assert len(codes) == 10
    assert 137 not in codes


@pytest.mark.prd("BOX-08")
def test_three_replicas(mysql_stack: Stack) -> None:
    """`--scale fastapi=3` with PORT=0: three healthy replicas, each on a free port of its own."""
    stack = mysql_stack
    stack.set(PORT=0)

    stack.up("--scale", "fastapi=3")
    containers = stack.container("fastapi").split()
    health = [stack.docker("inspect", "--format", "{{.State.Health.Status}}", name).strip() for name in containers]
    ports = {stack.compose("port", "--index", str(n), "fastapi", "8000").strip().split(":")[1] for n in (1, 2, 3)}
    statuses = [stack.get(port=int(port)).status for port in ports]

    assert health == ["healthy"] * 3
    assert statuses == [200] * 3
    assert len(ports) == 3
