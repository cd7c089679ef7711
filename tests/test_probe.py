"""`python probe.py`, the command of HEALTHCHECK: one line and an exit code, quickly, with the standard library."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from ports import free_port
from process import Start
from proxy import Proxy

PROBE = Path(__file__).parent.parent / "fastapi" / "probe.py"


def probe(port: int | None, path: Path = PROBE, **environment: str) -> tuple[int, str]:
    """The exit code and the output, from an interpreter that sees no installed package."""
    command = [sys.executable, "-S", "-E", str(path)]
    done = subprocess.run(
        command,
        env={**({"PORT": str(port)} if port else {}), **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert not done.stderr
    return done.returncode, done.stdout


@pytest.mark.prd("PROBE-03")
def test_healthy(start: Start) -> None:
    """A ready service is 0 and `ok`."""
    service = start()
    service.wait_until_ok()

    assert probe(service.port) == (0, "ok: database up\n")


@pytest.mark.prd("PROBE-03")
def test_unhealthy(start: Start, proxy: Proxy) -> None:
    """A service without its database is 1, with the reason and the hint in the same line."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")

    code, output = probe(service.port, HOST="0.0.0.0")

    assert code == 1
    assert output.startswith("starting: database waiting: connection_refused: MySQL is not accepting connections")
    assert output.count("\n") == 1


@pytest.mark.prd("SEC-02")
def test_without_details(start: Start, proxy: Proxy) -> None:
    """Where the service hides details, the probe has none to show."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port, HEALTH_DETAILS="false")
    service.wait_for(lambda body: body["database"]["status"] == "waiting")

    assert probe(service.port) == (1, "starting: database waiting\n")


@pytest.mark.prd("PROBE-03")
def test_nothing_there() -> None:
    """A closed port is 1, and says so."""
    port = free_port()

    code, output = probe(port)

    assert (code, output) == (1, f"no answer: 127.0.0.1:{port} is not a running service (ConnectionRefusedError)\n")


@pytest.mark.prd("PROBE-03")
def test_something_silent() -> None:
    """A port that never answers does not hold the probe: it gives up by itself."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        code, output = probe(silent.getsockname()[1])

    assert code == 1
    assert "TimeoutError" in output


@pytest.mark.prd("PROBE-03")
def test_the_port_of_dotenv(start: Start, own_folder: Path) -> None:
    """On the machine itself the probe asks where `.env` says, like the service, and the environment wins."""
    service = start()
    service.wait_until_ok()
    (own_folder / ".env").write_text(f"# PORT=1\nHOST='127.0.0.1'\nPORT = {service.port}  # mine\n")

    path = own_folder / "fastapi" / "probe.py"

    assert probe(None, path) == (0, "ok: database up\n")
    assert probe(free_port(), path)[0] == 1


@pytest.mark.prd("PROBE-03")
def test_every_component_is_in_the_line(start: Start) -> None:
    """The line names each component, and of one that is not up its reason."""
    service = start(program="second_component optional")
    service.wait_for(lambda body: body["status"] == "degraded")

    code, output = probe(service.port)

    assert code == 0
    assert output == "degraded: database up; switch down: connection_refused: The switch is off.\n"
