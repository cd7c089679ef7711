"""How the process ends: the exit codes of sysexits.h, and signals at every moment."""

import re
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import psutil
import pytest
from ports import free_port
from proxy import Proxy
from server import DatabaseServer
from service import Changed, Service, Start

# In naps: Python would not see a signal that comes just before one long sleep until that is over.
HANG = "import time; print('hanging', flush=True); [time.sleep(0.1) for _ in range(1000)]"
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
@pytest.mark.parametrize(
    ("mistake", "error"), [("1 / 0", "ZeroDivisionError"), ("raise SystemExit('no key')", "SystemExit")]
)
def test_70_when_a_stage_breaks(start: Start, changed: Changed, mistake: str, error: str) -> None:
    """A mistake in the code of a stage ends the process with 70 and names the error and its place."""
    folder = changed("api.py", "router = ", f"{mistake}\nrouter = ")

    service = start(folder=folder)

    assert service.exit_code() == 70
    assert re.search(rf"routers: failed, unexpected {error} at api.py:\d+: .* Exit code 70\.", service.log)


@pytest.mark.prd("EXIT-04")
def test_78_when_settings_are_wrong(start: Start) -> None:
    """All mistakes are named in one message before anything else starts, and the exit code is 78."""
    service = start(MYSQL_HOST=None, MYSQL_PORT="abc", DB_WAIT_TIMEOUT=-1)

    assert service.exit_code() == 78
    assert service.log.count(" CRITICAL ") == 1
    for name in ("MYSQL_HOST is missing. Example: MYSQL_HOST=mysql", "MYSQL_PORT should be", "DB_WAIT_TIMEOUT should"):
        assert name in service.log
    assert "answering on" not in service.log


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
    service.wait_for(lambda body: body["stages"][4]["state"] == "running")

    psutil.Process(pid_of(service, as_pid_1)).terminate()

    assert service.exit_code(seconds=10) == 0


@pytest.mark.prd("EXIT-06")
@pytest.mark.parametrize("stage", ["read_settings", "set_up_logging", "add_middleware", "include_routers",
                                   "connect_database", "start_monitor", "become_ready"])  # fmt: skip
@pytest.mark.parametrize("as_pid_1", [False, True], ids=["child", "pid1"])
def test_0_when_stopped_in_any_stage(start: Start, changed: Changed, stage: str, as_pid_1: bool) -> None:
    """A stage that hangs does not keep SIGTERM from ending the process with 0."""
    folder = changed("main.py", f"def {stage}() -> str:", f"def {stage}() -> str:\n    {HANG}")
    service = start(AS_PID_1 if as_pid_1 else None, folder=folder)
    service.wait_for_log("hanging")

    psutil.Process(pid_of(service, as_pid_1)).terminate()

    assert service.exit_code(seconds=10) == 0


@pytest.mark.prd("EXIT-06")
def test_0_when_stopped_while_python_still_imports(start: Start, changed: Changed) -> None:
    """SIGTERM counts from the first line of main.py on, before the imports are done."""
    folder = changed("boot.py", "import logging", f"{HANG}\nimport logging")
    service = start(folder=folder)
    service.wait_for_log("hanging")

    assert service.terminate(seconds=10) == 0


@pytest.mark.prd("EXIT-06")
def test_0_after_two_ctrl_c(start: Start) -> None:
    """An impatient second Ctrl-C changes nothing: no traceback, exit code 0."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")

    service.process.send_signal(signal.SIGINT)

    assert service.terminate(signal.SIGINT) == 0


@pytest.mark.prd("EXIT-06")
def test_a_client_that_does_not_read_does_not_keep_a_wait(start: Start) -> None:
    """While waiting for the database nothing is worth draining: SIGTERM ends the process at once."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")

    with socket.create_connection(("127.0.0.1", service.port)) as client:
        client.setblocking(False)
        with suppress(BlockingIOError):
            while True:
                client.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)

        assert service.terminate(seconds=5) == 0


@pytest.mark.prd("EXIT-07")
def test_a_request_in_flight_is_finished(start: Start, proxy: Proxy) -> None:
    """SIGTERM lets a request end that waits for a slow database, then exits with 0."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    proxy.fault = "drip"

    with ThreadPoolExecutor() as pool:
        accepted = proxy.accepted
        request = pool.submit(service.ask, "/api/test")
        service.wait_for(lambda _: proxy.accepted > accepted)
        code = service.terminate()

    assert request.result().status == 503  # its login met the deadline of DB_CHECK_TIMEOUT
    assert code == 0


@pytest.mark.prd("EXIT-07")
def test_a_request_that_never_ends_does_not_keep_the_process(
    start: Start, server: DatabaseServer, changed: Changed
) -> None:
    """A request whose statement never ends is answered with 503 after a while; the exit code is still 0."""
    service = start(folder=changed("api.py", "SELECT NOW()", "SELECT SLEEP(5)"))
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        request = pool.submit(service.ask, "/api/test")
        service.wait_for(lambda _: server.is_at("SELECT SLEEP(5)"))
        server.freeze()
        code = service.terminate()
        server.thaw()

    assert code == 0
    assert (request.result().status, request.result().json) == (503, {"status": "stopping"})


UVICORN = [sys.executable, "-m", "uvicorn", "main:app", "--app-dir", "../fastapi", "--port", "{port}"]


@pytest.mark.prd("EXIT-08")
def test_uvicorn_can_launch_it_too(start: Start) -> None:
    """`uvicorn main:app --app-dir fastapi` serves; what it gives up is the exit code of a stop."""
    service = start(UVICORN)

    service.wait_until_ok()
    request = service.ask("/api/test")

    assert request.status == 200
    assert "uvicorn.access" not in service.log
    assert service.terminate() == -signal.SIGTERM


@pytest.mark.prd("EXIT-08")
def test_what_uvicorn_gives_up(start: Start) -> None:
    """By uvicorn, wrong settings still end with 78, but a failed wait ends with a signal, and as PID 1 with 0."""
    misconfigured = start(UVICORN, MYSQL_HOST=None)
    alone = start(UVICORN, MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=1)
    pid_1 = start([*UNSHARE, *UVICORN], MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=1)

    assert misconfigured.exit_code() == 78
    assert "MYSQL_HOST is missing" in misconfigured.log
    assert alone.exit_code() == -signal.SIGTERM
    assert pid_1.exit_code() == 0
    assert all("Exit code 69." in service.log for service in (alone, pid_1))
