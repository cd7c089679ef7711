"""create_app: nothing happens at import, many services in one process, routers with lifespans, WebSockets."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import websockets.sync.client
from fastapi import APIRouter
from ports import free_port
from process import Start
from starlette.testclient import TestClient

from boot import Skip, Stage
from main import BEFORE_PORT, create_app
from service import Service

FASTAPI = Path(__file__).parent.parent / "fastapi"


@pytest.mark.prd("BOOT-05")
def test_importing_main_does_nothing() -> None:
    """`import main` reads no settings, configures no logging, starts no thread and ends no process."""
    look = "import logging, threading, main; print(main.app.service.boot.runs[0].state, threading.active_count(), "
    look += "len(logging.getLogger().handlers), 'sqlalchemy' in __import__('sys').modules)"

    done = subprocess.run(
        [sys.executable, "-c", look], cwd=FASTAPI, env={}, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.split() == ["pending", "1", "0", "False"]


def skipping(_: Service) -> str:
    raise Skip("not in this test")


@pytest.mark.prd("BOOT-05")
def test_many_services_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each app has a start, a health and a name of its own."""
    for name, value in {"HOST": "mysql", "DATABASE": "app", "USER": "app", "PASSWORD": "x"}.items():
        monkeypatch.setenv(f"MYSQL_{name}", value)
    seen = []

    for name in ("one", "two"):
        monkeypatch.setenv("APP_NAME", name)
        app = create_app(before_port=BEFORE_PORT[:1], behind_port=[Stage("nothing", skipping)])
        app.service.database_component.publish("up", 60)
        with TestClient(app) as client:
            while not app.service.boot.done:
                pass
            seen.append((client.get("/health").json()["status"], app.service.settings.app_name))

    assert seen == [("ok", "one"), ("ok", "two")]


def test_an_app_that_is_closed_while_it_starts_leaves_its_process_alone() -> None:
    """Only a start that has failed ends the process: a test may leave its client while the app waits for MySQL."""
    look = (
        "import threading\n"
        "from starlette.testclient import TestClient\n"
        "from main import create_app\n"
        "with TestClient(create_app()) as client:\n"
        "    while not client.get('/health').json()['database']['attempts']: pass\n"
        "for boot in [thread for thread in threading.enumerate() if thread.name == 'boot']: boot.join()\n"
        "print('still here')\n"
    )
    address = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(free_port())}

    done = subprocess.run(
        [sys.executable, "-c", look],
        cwd=FASTAPI,
        env={**address, "MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_PASSWORD": "x"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (done.returncode, done.stdout) == (0, "still here\n")


@pytest.mark.prd("BOOT-06")
def test_a_router_has_its_lifespan_and_its_websockets(start: Start) -> None:
    """A router's lifespan begins and ends with the service, and a WebSocket endpoint can depend on get_db."""
    service = start(program="router_lifespan")
    service.wait_until_ok()

    with websockets.sync.client.connect(f"ws://127.0.0.1:{service.port}/socket") as socket:
        answer = json.loads(socket.recv(timeout=20))
    code = service.terminate()

    assert answer == {"one": 1, "greeting": "hello"}
    assert code == 0
    assert service.log.count("lifespan begins") == service.log.count("lifespan ends") == 1


def test_an_end_that_fails_keeps_no_other_from_its_own(start: Start) -> None:
    """What a lifespan or a closer raises at the end is a line in the log; all others still run, and the code is 0."""
    service = start(program="broken_ends")
    service.wait_until_ok()

    code = service.terminate()

    assert code == 0
    assert "the good lifespan ends" in service.log
    assert "the good closer ends" in service.log
    assert re.search(r"ERROR .* unexpected ValueError at programs\.py:\d+", service.log)
    assert re.search(r"ERROR .* unexpected KeyError at programs\.py:\d+", service.log)
    assert "secret text" not in service.log


@pytest.mark.prd("BOOT-06")
def test_the_routers_are_yours_to_replace() -> None:
    """Whoever replaces the sample api.py gives create_app routers of their own."""
    router = APIRouter(prefix="/mine")

    app = create_app(routers=lambda: [router])

    assert app.service.routers() == [router]


def own_imports(module: Path) -> set[str]:
    """The modules of this folder that a module imports, wherever it does so, but for types and as a command."""
    names = {path.stem for path in FASTAPI.glob("*.py")}
    tree = ast.parse(module.read_text("utf-8"))
    for_others = re.compile("if (TYPE_CHECKING|__name__ == '__main__'):")
    tree.body = [node for node in tree.body if not for_others.match(ast.unparse(node))]
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            imported.add(node.module)
        elif isinstance(node, ast.Import):
            imported.update(alias.name for alias in node.names)
    return imported & names


def test_the_imports_have_no_circle() -> None:
    """One module stands on others, and none of them on it: whoever reads downwards never comes back."""
    below = {module.stem: own_imports(module) for module in FASTAPI.glob("*.py")}

    while below:
        ground = {name for name, imports in below.items() if not imports & below.keys()}
        assert ground, f"a circle among {', '.join(sorted(below))}"
        below = {name: imports for name, imports in below.items() if name not in ground}
