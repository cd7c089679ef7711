"""What every test shares: a real database server, a faulty network in front of it, and the real service."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import certificates
import pytest
from database_server import DatabaseServer
from process import Service, Start
from proxy import Proxy

pytest_plugins = ["prd"]

FASTAPI = Path(__file__).parent.parent / "fastapi"
PROGRAMS = Path(__file__).parent / "support" / "programs.py"


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DatabaseServer]:
    """One server for the session; tests take `server`, which puts it right again."""
    server = DatabaseServer(tmp_path_factory.mktemp("server"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def server(shared_server: DatabaseServer) -> Iterator[DatabaseServer]:
    """The running server, with the app's account and database as they should be."""
    shared_server.restore()
    yield shared_server
    shared_server.thaw()


@pytest.fixture
def proxy(server: DatabaseServer) -> Iterator[Proxy]:
    """A network between service and server that can be broken in many ways."""
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the service without the developer's own `.env`."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copytree(FASTAPI, folder / "fastapi", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.fixture
def start(project: Path, server: DatabaseServer, tmp_path: Path) -> Iterator[Start]:
    """Starts the service: `start(MYSQL_PORT=1)` changes settings, None removes one. All are ended after the test.

    `program="NAME VALUE"` starts one of support/programs.py in place of main.py.
    """
    services: list[Service] = []
    tracing: set[Service] = set()

    def start(
        command: list[str] | None = None,
        program: str = "",
        folder: Path = project,
        may_trace: bool = False,
        **changes: object,
    ) -> Service:
        settings = {
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PORT": server.port,
            "MYSQL_DATABASE": "app",
            "MYSQL_USER": "app",
            "MYSQL_PASSWORD": server.password,
            **changes,
        }
        environment = {name: str(value) for name, value in settings.items() if value is not None}
        log = tmp_path / f"service-{len(services)}.log"
        cwd = folder / "fastapi"
        if program:
            command = [*(command or [sys.executable]), str(PROGRAMS), *program.split()]
            environment["PYTHONPATH"] = str(cwd)
            cwd = tmp_path
        service = Service(cwd, {"PATH": os.environ["PATH"], **environment}, log, command)
        services.append(service)
        tracing.update([service] if may_trace else [])
        return service

    yield start
    for service in services:
        service.end()
        assert server.password not in service.everything_said, "the password was in a log or an answer"
        assert service in tracing or "Traceback" not in service.everything_said, service.story


@pytest.fixture
def own_folder(project: Path, tmp_path: Path) -> Path:
    """A copy of the service to which a test may add a `.env`."""
    return Path(shutil.copytree(project, tmp_path / "own"))


@pytest.fixture
def other_ca(tmp_path: Path) -> Path:
    """A CA that did not sign the server's certificate."""
    return certificates.make(tmp_path, "other")
