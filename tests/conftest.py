"""What every test shares: a real database server, a faulty network in front of it, and the real service."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import certificates
import pytest
from proxy import Proxy
from server import DatabaseServer
from service import Changed, Service, Start

pytest_plugins = ["prd"]

FASTAPI = Path(__file__).parent.parent / "fastapi"


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
    """Starts the service: `start(MYSQL_PORT=1)` changes settings, None removes one. All are ended after the test."""
    services: list[Service] = []
    tracing: set[Service] = set()

    def start(
        command: list[str] | None = None, folder: Path = project, may_trace: bool = False, **changes: object
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
        service = Service(folder / "fastapi", {"PATH": os.environ["PATH"], **environment}, log, command)
        services.append(service)
        tracing.update([service] if may_trace else [])
        return service

    yield start
    for service in services:
        service.end()
        assert server.password not in service.everything_said, "the password was in a log or an answer"
        assert service in tracing or "Traceback" not in service.everything_said, service.story


@pytest.fixture
def other_ca(tmp_path: Path) -> Path:
    """A CA that did not sign the server's certificate."""
    return certificates.make(tmp_path, "other")


@pytest.fixture
def changed(project: Path, tmp_path: Path) -> Changed:
    """A copy of the service in which one piece of text stands for another: `changed("api.py", old, new)`."""

    def change(file: str, old: str, new: str) -> Path:
        folder = tmp_path / "changed"
        shutil.copytree(project, folder, dirs_exist_ok=True)
        path = folder / "fastapi" / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))
        return folder

    return change


@pytest.fixture
def slow_routers(changed: Changed) -> Path:
    """A service whose routers are loaded only when a file named `go` appears beside it."""
    wait = "import time, pathlib\nwhile not pathlib.Path('../go').exists():\n    time.sleep(0.01)\n"
    return changed("api.py", "from typing import", wait + "from typing import")
