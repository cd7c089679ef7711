"""Whoever extends the project is not punished: an addition turns nothing red but what lists exactly that on purpose."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from database_server import DatabaseServer
from reader import copy_of_project

# The tests that could mind an addition. All tests would take too long here; the others look at parts by themselves,
# drive a browser or break the network.
WHO_COULD_MIND = [
    *("test_notes", "test_settings", "test_app", "test_own_revisions", "test_api", "test_health"),
    "documents/test_documents",
]
SLOW = "not commands_of and not test_verify and not 100_outages and not 200_concurrent and not heal_after_a_kill"

STAGE = '    Stage("greeting", greet),\n'
GREET = '''def greet(service: Service) -> str:
    """A stage of one's own, which uses the pool."""
    with service.database.SessionLocal() as session:
        return str(session.connection().exec_driver_sql("SELECT 'hello'").scalar())


'''
MIDDLEWARE = '''

class Named:
    """A middleware of one's own."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)
'''


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project."""
    return copy_of_project(tmp_path / "project")


def insert(file: Path, before: str, text: str) -> None:
    """Puts text before the first line that begins so."""
    code = file.read_text()
    assert f"\n{before}" in code
    file.write_text(code.replace(f"\n{before}", f"\n{text}{before}", 1))


def replace(file: Path, old: str, new: str) -> None:
    code = file.read_text()
    assert old in code
    file.write_text(code.replace(old, new, 1))


def add_model(copy: Path) -> None:
    with (copy / "fastapi" / "models.py").open("a") as models:
        models.write((copy / "PRD" / "own" / "model.txt").read_text())


def add_revision(copy: Path, server: DatabaseServer) -> None:
    """As the recipe does it: drafted from the difference, and completed."""
    where = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_PASSWORD": server.password}
    env = {"PATH": os.environ["PATH"], "MYSQL_DATABASE": "app", "MYSQL_USER": "app", **where}
    for command in (["upgrade"], ["revision", "add notes"]):
        subprocess.run([sys.executable, "fastapi/migrate.py", *command], cwd=copy, env=env, check=True)
    (revision,) = (copy / "fastapi" / "migrations" / "versions").glob("*_add_notes.py")
    replace(revision, "raise NotImplementedError", 'return schema.has_table("notes")')


def add_endpoint(copy: Path) -> None:
    shutil.copy(copy / "PRD" / "own" / "notes.py", copy / "fastapi")
    replace(copy / "fastapi" / "main.py", "    import api\n", "    import api\n    import notes\n")
    replace(copy / "fastapi" / "main.py", "accounts.router]", "accounts.router, notes.router]")


def failures(copy: Path, *arguments: str) -> dict[str, str]:
    """The tests that fail, with pytest's line about each.

    They are run once more: what fails for want of time, beside all the others, is not what is asked here.
    """
    red = _failures(copy, *arguments)
    return _failures(copy, *red) if red else {}


def _failures(copy: Path, *arguments: str) -> dict[str, str]:
    command = [sys.executable, "-m", "pytest", "-m", "not compose", "-q", "--no-header", "-p", "no:cacheprovider"]
    wide = os.environ | {"COLUMNS": "500"}  # so that pytest does not shorten its lines
    done = subprocess.run([*command, *arguments], cwd=copy, env=wide, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return dict(re.findall(r"^(?:FAILED|ERROR) (.+?) - (.*)$", done.stdout, re.M))


@pytest.mark.timeout(900)
def test_additions_turn_nothing_red(copy: Path, server: DatabaseServer) -> None:
    """A model, a revision, endpoints, a setting, a stage, a middleware, a test: only the list of variables is red."""
    add_model(copy)
    add_revision(copy, server)
    add_endpoint(copy)
    insert(copy / "fastapi" / "settings.py", "    app_name:", (copy / "PRD" / "own" / "setting.txt").read_text())
    main = copy / "fastapi" / "main.py"
    insert(main, '    Stage("background tasks"', STAGE)
    insert(main, "BEFORE_PORT =", GREET)
    (copy / "fastapi" / "named.py").write_text('"""A middleware."""\n\nfrom typing import Any\n' + MIDDLEWARE)
    replace(
        main, "\napp = create_app()", "\nfrom named import Named\n\napp = create_app(middleware=[Middleware(Named)])"
    )
    shutil.copy(copy / "PRD" / "own" / "test_notes.py", copy / "tests")

    # Four at a time: most of them wait for something most of the time.
    red = failures(copy, "--numprocesses", "4", "-k", SLOW, *[f"tests/{name}.py" for name in WHO_COULD_MIND])

    assert list(red) == ["tests/test_settings.py::test_every_variable_is_in_env_example"], red
    assert "add to .env.example, with the default and why it exists: ['NOTE_LENGTH']" in red.popitem()[1]


@pytest.mark.timeout(300)
def test_a_model_without_a_revision_is_red(copy: Path) -> None:
    """And the message says what to do."""
    add_model(copy)

    red = failures(copy, "tests/test_own_revisions.py", "-k", SLOW)

    assert list(red) == ["tests/test_own_revisions.py::test_models_and_schema_agree"], red
    assert 'python migrate.py revision "..."' in red.popitem()[1]


@pytest.mark.timeout(300)
def test_what_is_not_needed_can_be_deleted(copy: Path) -> None:
    """Without texts, benchmark and work log all tests of the code are collected; the quickest of them are run."""
    for folder in ("PRD", "bench", "worklog", "tests/documents"):
        shutil.rmtree(copy / folder, ignore_errors=True)
    replace(copy / "tests" / "conftest.py", 'pytest_plugins = ["prd"]\n', "")

    red = failures(copy, "tests", "-k", "test_settings")

    assert red == {}
