"""Migrations and accounts in containers: on MySQL 9.7 and on MariaDB 11.8, and with the container's memory."""

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode
from urllib.request import Request, urlopen

import pytest
import revisions
from compose.conftest import NewStack
from compose.stack import SETTINGS, Stack
from ports import free_port

from schema import Revisions
from settings import Settings

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]

OWN = Revisions()
PUBLISHED = """
services:
  mysql:
    ports: ["127.0.0.1:{port}:3306"]
"""


@pytest.fixture
def database(empty_stack: Stack) -> Settings:
    """A database server alone, reached from here."""
    port = free_port()
    empty_stack.override(PUBLISHED.format(port=port))
    empty_stack.up("mysql")
    settings = {name.lower(): value for name, value in SETTINGS.items()}
    return Settings.model_validate({**settings, "mysql_host": "127.0.0.1", "mysql_port": port})


@pytest.mark.prd("MIG-03")
def test_a_kill_at_any_point_heals(database: Settings, tmp_path: Path) -> None:
    """The service's revisions and those of a test, killed at each point, heal by the next start."""
    own = revisions.kill_at_each_point(database, OWN.folder)
    three = revisions.kill_at_each_point(database, revisions.three(tmp_path / "three").folder)

    assert len(own) > 10
    assert len(three) > 20


@pytest.mark.prd("MIG-08")
def test_schema_is_what_the_models_say(database: Settings) -> None:
    """After all revisions models.py and the schema agree; a second run does nothing."""
    first, checked, second = (revisions.run(database, OWN.folder, word) for word in ("upgrade", "check", "upgrade"))

    assert [code for code, _ in (first, checked, second)] == [0, 0, 0], first[1] + checked[1] + second[1]
    assert "the same as models.py" in checked[1]
    assert "revision 1 of" not in second[1]


@pytest.mark.prd("AUTH-04")
def test_many_logins_in_the_container(new_stack: NewStack) -> None:
    """50 logins at once are all answered while /health stays quick and the memory below the container's limit."""
    secrets = {"ADMIN_PASSWORD": "a password", "JWT_SECRET": "k" * 32}
    stack = new_stack(**secrets)
    stack.up()
    url = f"http://127.0.0.1:{stack.port}/api/login"
    form = urlencode({"username": "admin", "password": "a password"}).encode()

    def log_in(_: int) -> int:
        with urlopen(Request(url, form), timeout=60) as answer:
            return int(answer.status)

    slowest = 0.0
    with ThreadPoolExecutor(50) as threads:
        logins = [threads.submit(log_in, number) for number in range(50)]
        while not all(login.done() for login in logins):
            began = time.monotonic()
            assert stack.get("/health").status == 200
            slowest = max(slowest, time.monotonic() - began)

    memory = stack.docker("stats", "--no-stream", "--format", "{{.MemUsage}}", stack.container("fastapi"))
    stack.tell(f"50 logins: slowest /health {slowest * 1000:.0f} ms, memory {memory.strip()}")
    assert [login.result() for login in logins] == [200] * 50
    assert stack.state("fastapi").restarts == 0


@pytest.mark.prd("MIG-07")
def test_one_shot_migration_with_another_account(new_stack: NewStack) -> None:
    """`docker compose run --rm fastapi python migrate.py upgrade` is all that MIGRATIONS=wait needs."""
    stack = new_stack(MIGRATIONS="wait", MIGRATIONS_TIMEOUT=120)
    stack.up("mysql")
    stack.compose("up", "--detach", "--no-deps", "fastapi")
    stack.until(lambda: "waiting: schema at no revision" in stack.log("fastapi"), 60)

    said = stack.compose("run", "--rm", "--no-deps", "fastapi", "python", "migrate.py", "upgrade")

    stack.until_status(200)
    assert f"schema at {OWN.head}" in said + stack.log("fastapi")
