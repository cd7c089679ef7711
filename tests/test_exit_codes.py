"""How the process ends: the exit codes of sysexits.h, and signals at every moment."""

import os
import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from database_server import DatabaseServer
from ports import free_port
from process import Service, Start, stage
from proxy import Proxy

from main import BEHIND_PORT

UNSHARE = ["unshare", "--pid", "--fork", "--kill-child"]
AS_PID_1 = [*UNSHARE, sys.executable, "main.py"]


def pid_of(service: Service, as_pid_1: bool) -> int:
    """The service's process: behind `unshare` it is the child."""
    if not as_pid_1:
        return service.process.pid
    return int(psutil.Process(service.process.pid).children()[0].pid)


@pytest.mark.prd("EXIT-01")
def test_69_when_the_database_does_not_come(start: Start) -> None:
    """A server that is not there within DB_WAIT_TIMEOUT ends the process with 69 and a summary in the log."""
    service = start(MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=1.5)

    assert service.exit_code() == 69
    assert "last reason connection_refused" in service.log
    assert "Exit code 69." in service.log


@pytest.mark.prd("EXIT-02")
def test_70_when_a_stage_breaks(start: Start) -> None:
    """A mistake in a stage ends the process with 70: class and place in the line, and the traceback below it."""
    service = start(program="breaking_stage", may_trace=True)

    code = service.exit_code()

    assert code == 70
    assert re.search(r"yours: failed, unexpected ZeroDivisionError at programs\.py:\d+\. Exit code 70\.", service.log)
    assert "division by zero" in service.log.split("Traceback")[1]


@pytest.mark.prd("EXIT-02")
def test_70_when_a_stage_exits(start: Start) -> None:
    """`sys.exit` in a stage is an unexpected error like any other, and its text is not shown by /health."""
    service = start(program="exiting_stage", may_trace=True)

    assert service.exit_code() == 70
    assert "unexpected SystemExit at programs.py" in service.log
    assert "the secret text" not in service.log.split("Traceback")[0]


@pytest.mark.prd("EXIT-02")
def test_70_when_a_middleware_cannot_be_made(start: Start, own_folder: Path) -> None:
    """What your middleware's constructor raises is an unexpected error of the stage, with its place in your file."""
    (own_folder / "fastapi" / "yours.py").write_text(
        "from starlette.middleware import Middleware\n"
        "from main import create_app, run\n"
        "class Broken:\n"
        "    def __init__(self, app):\n"
        "        raise ValueError('the secret text of a library')\n"
        "run(create_app(middleware=[Middleware(Broken)]))\n"
    )

    service = start([sys.executable, "yours.py"], folder=own_folder, may_trace=True)

    assert service.exit_code() == 70
    assert "middleware: failed, unexpected ValueError at yours.py:5. Exit code 70." in service.log
    assert "the secret text" not in service.log.split("Traceback")[0]


@pytest.mark.prd("EXIT-04")
def test_78_when_settings_are_wrong(start: Start) -> None:
    """All mistakes are named in one message before anything else starts, and the exit code is 78."""
    service = start(MYSQL_HOST=None, MYSQL_PORT="abc", DB_WAIT_TIMEOUT=-1)

    assert service.exit_code() == 78
    assert service.log.count(" CRITICAL ") == 1
    for name in ("MYSQL_HOST is missing. Example: MYSQL_HOST=mysql", "MYSQL_PORT should be", "DB_WAIT_TIMEOUT should"):
        assert name in service.log
    assert "listening on" not in service.log


@pytest.mark.prd("EXIT-04")
def test_78_when_the_port_is_taken(start: Start) -> None:
    """A port that another program uses is a clear line, and 78."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        service = start(PORT=other.getsockname()[1])

        assert service.exit_code() == 78
    assert "Address already in use" in service.log


@pytest.mark.prd("EXIT-04")
@pytest.mark.parametrize("host", ["203.0.113.1", "no.such.host.invalid"])
def test_78_when_the_host_is_wrong(start: Start, host: str) -> None:
    """An address that is not this machine's is a clear line, and 78."""
    service = start(HOST=host)

    assert service.exit_code() == 78
    assert f"cannot listen on HOST={host}" in service.log


@pytest.mark.prd("EXIT-05")
@pytest.mark.parametrize("as_pid_1", [False, True], ids=["child", "pid1"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_0_when_stopped_while_serving(start: Start, number: signal.Signals, as_pid_1: bool) -> None:
    """SIGTERM and SIGINT end a serving process with 0, as PID 1 of a container and elsewhere."""
    service = start(AS_PID_1 if as_pid_1 else None)
    service.wait_until_ok()

    psutil.Process(pid_of(service, as_pid_1)).send_signal(number)

    assert service.exit_code() == 0
    assert service.log.rstrip().endswith("stopped, exit code 0")


@pytest.mark.prd("EXIT-06")
@pytest.mark.parametrize("as_pid_1", [False, True], ids=["child", "pid1"])
@pytest.mark.parametrize("fault", ["refuse", "silent", "drip"])
def test_0_when_stopped_while_waiting(start: Start, proxy: Proxy, fault: str, as_pid_1: bool) -> None:
    """SIGTERM is heard in the middle of the wait, even of an attempt that is stuck: 0, and not after the deadline."""
    proxy.break_with(fault)
    command = AS_PID_1 if as_pid_1 else None
    service = start(command, MYSQL_PORT=proxy.port, DB_CHECK_TIMEOUT=30)
    service.wait_for_stage("database")

    psutil.Process(pid_of(service, as_pid_1)).terminate()

    assert service.exit_code(seconds=25) == 0


@pytest.mark.prd("EXIT-06")
@pytest.mark.parametrize("name", [stage.name for stage in BEHIND_PORT])
@pytest.mark.parametrize("as_pid_1", [False, True], ids=["child", "pid1"])
def test_0_when_stopped_in_any_stage(start: Start, name: str, as_pid_1: bool) -> None:
    """A stage that hangs, and has nothing to leave half done, does not keep SIGTERM from ending the process with 0."""
    service = start([*UNSHARE, sys.executable] if as_pid_1 else None, program=f"hanging_stage {name.replace(' ', '_')}")
    service.wait_for_log("hanging")

    psutil.Process(pid_of(service, as_pid_1)).terminate()

    assert service.exit_code(seconds=25) == 0


@pytest.mark.prd("EXIT-06")
def test_0_when_stopped_before_the_port_is_open(start: Start, tmp_path: Path) -> None:
    """SIGTERM counts from the first line of main.py on: here, while the settings wait for a file that is a pipe."""
    os.mkfifo(tmp_path / "password")
    service = start(MYSQL_PASSWORD=None, MYSQL_PASSWORD_FILE=tmp_path / "password")
    with (tmp_path / "password").open("w"):  # opens when the service has begun to read
        code = service.terminate(seconds=10)

    assert code == 0


@pytest.mark.prd("EXIT-06")
def test_a_running_stage_is_not_cut(start: Start) -> None:
    """After SIGTERM a stage that is in the middle of something ends it; the next one does not begin."""
    service = start(program="slow_stage 2")
    service.wait_for_log("working")

    code = service.terminate()

    assert code == 0
    assert "worked" in service.log
    assert "slow: done" in service.log
    assert "migrations: " not in service.log


@pytest.mark.prd("EXIT-06")
def test_a_careful_stage_stops_at_its_next_step(start: Start) -> None:
    """A stage that looks at `stopping` ends at a safe point, says which, and the exit code is 0."""
    service = start(program="careful_stage")
    service.wait_for_log("step 3 of 1000")

    assert service.terminate() == 0
    assert re.search(r"careful: skipped, stopped after step \d+", service.log)


@pytest.mark.prd("EXIT-02")
def test_70_when_a_stage_uses_up_its_grace(start: Start) -> None:
    """A stage that reaches no safe point in time is cut, and the log says which one and where it was."""
    service = start(program="stubborn_stage")
    service.wait_for_log("hanging")

    assert service.terminate() == 70
    assert "stubborn: cut off" in service.log
    assert "It was at: step 2 of 3." in service.log


@pytest.mark.prd("EXIT-05")
def test_0_when_a_stage_fails_after_sigterm(start: Start) -> None:
    """A stage that fails because everything is being stopped does not change the exit code."""
    service = start(program="failing_while_stopping", may_trace=True)
    service.wait_for_log("working")

    assert service.terminate() == 0
    assert "unlucky: failed while stopping, unexpected RuntimeError at programs.py" in service.log


@pytest.mark.prd("EXIT-06")
def test_0_when_stopped_at_the_end_of_a_blocked_attempt(start: Start, proxy: Proxy) -> None:
    """SIGTERM within the last attempt of the wait is a stop, and not a wait that has failed (69)."""
    proxy.break_with("silent")
    service = start(MYSQL_PORT=proxy.port, DB_WAIT_TIMEOUT=3, DB_CHECK_TIMEOUT=5)
    service.wait_for(lambda body: stage(body, "database")["seconds"] > 2.5)

    assert service.terminate(seconds=25) == 0
    assert "stopped, exit code 0" in service.log


@pytest.mark.prd("EXIT-06")
def test_0_after_many_signals(start: Start) -> None:
    """Signals that come while the first one is being handled change nothing: no traceback, exit code 0."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")

    for _ in range(20):
        service.process.send_signal(signal.SIGINT)
        service.process.send_signal(signal.SIGTERM)

    assert service.exit_code() == 0


@pytest.mark.prd("EXIT-06")
def test_a_client_that_does_not_read_does_not_keep_a_wait(start: Start) -> None:
    """While waiting for the database nothing is worth draining: SIGTERM ends the process at once."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")

    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000)  # far more answers than buffers hold

        assert service.terminate(seconds=25) == 0


@pytest.mark.prd("EXIT-07")
def test_a_request_in_flight_is_finished(start: Start, server: DatabaseServer) -> None:
    """SIGTERM lets a request end whose statement is under way, then the process exits with 0."""
    service = start(program="sleeping_statement 2")
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        request = pool.submit(service.ask, "/sleep")
        service.wait_for(lambda _: server.is_at("SELECT SLEEP(2)"))
        code = service.terminate()

    assert (request.result().status, code) == (200, 0)


@pytest.mark.prd("EXIT-07")
def test_a_request_that_never_ends_does_not_keep_the_process(start: Start, server: DatabaseServer) -> None:
    """A request whose statement never ends is answered with 503 after a while; the exit code is still 0."""
    service = start(program="sleeping_statement 5")
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        request = pool.submit(service.ask, "/sleep")
        service.wait_for(lambda _: server.is_at("SELECT SLEEP(5)"))
        server.freeze()
        code = service.terminate()
        server.thaw()

    assert code == 0
    assert (request.result().status, request.result().json["reason"]) == (503, "stopping")


UVICORN = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", "../fastapi", "--port", "{port}"]


@pytest.mark.prd("EXIT-08")
def test_uvicorn_can_launch_it_too(start: Start) -> None:
    """`uvicorn main:app --app-dir fastapi` serves; only the exit codes are lost."""
    service = start(UVICORN)

    service.wait_until_ok()
    request = service.ask("/api/test")

    assert request.status == 200
    assert "uvicorn.access" not in service.log
    assert service.terminate() == -signal.SIGTERM


@pytest.mark.prd("EXIT-08")
def test_what_is_lost_under_uvicorn(start: Start) -> None:
    """By uvicorn, wrong settings end with 3, and a failed wait with a signal, or with 0 as PID 1."""
    misconfigured = start(UVICORN, MYSQL_HOST=None)
    alone = start(UVICORN, MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=1)
    pid_1 = start([*UNSHARE, *UVICORN], MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=1)

    assert misconfigured.exit_code() == 3
    assert "MYSQL_HOST is missing" in misconfigured.log
    assert alone.exit_code() == -signal.SIGTERM
    assert pid_1.exit_code() == 0
    assert all("Exit code 69." in service.log for service in (alone, pid_1))
