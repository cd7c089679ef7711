"""Whoever extends the project is not punished: an addition turns nothing red but what lists exactly that on purpose."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from reader import copy_of_project

ENDPOINT = '''

@router.get("/greeting")
def read_greeting(db: Annotated[Session, Depends(get_db)]) -> dict[str, Any]:
    """Greets with what the database says."""
    return {"greeting": db.scalar(text("SELECT 'hello'"))}
'''
SETTING = '    greeting: str = Field("hello", examples=["hello"])\n'
STAGE = '    Stage("greeting", greet),\n'
GREET = '''def greet(service: Service) -> str:
    """A stage of one's own, which uses the pool."""
    with service.database.SessionLocal() as session:
        return str(session.connection().exec_driver_sql("SELECT 'hello'").scalar())


'''
TEST = '''
"""A test of one's own."""

from typing import Any


def test_greeting(start: Any) -> None:
    """The new endpoint greets."""
    service = start()
    service.wait_until_ok()

    assert service.ask("/api/greeting").json == {"greeting": "hello"}
'''


def failures(folder: Path) -> dict[str, str]:
    """The tests that fail in a project, with pytest's line about each. Those of the page know none of all this.

    They are run once more: what fails for want of time, beside all the others, is not what is asked here.
    """
    left_out = ["--ignore=tests/test_page.py", f"--ignore=tests/documents/{Path(__file__).name}"]
    slow = ["-k", "not commands_of and not test_verify and not 100_outages"]
    red = _failures(folder, *left_out, *slow)
    return _failures(folder, *red) if red else {}


def _failures(folder: Path, *arguments: str) -> dict[str, str]:
    command = [sys.executable, "-m", "pytest", "-m", "not compose", "-q", "--no-header", "-p", "no:cacheprovider"]
    wide = os.environ | {"COLUMNS": "500"}  # so that pytest does not shorten its lines
    done = subprocess.run([*command, *arguments], cwd=folder, env=wide, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return dict(re.findall(r"^(?:FAILED|ERROR) (.+?) - (.*)$", done.stdout, re.M))


def insert(file: Path, before: str, text: str) -> None:
    """Puts text before the first line that begins so."""
    code = file.read_text()
    assert f"\n{before}" in code
    file.write_text(code.replace(f"\n{before}", f"\n{text}{before}", 1))


@pytest.mark.timeout(1800)
def test_an_endpoint_a_setting_a_stage_and_a_test(tmp_path: Path) -> None:
    """All at once: only the list of variables is red, and says what to add and where."""
    project = copy_of_project(tmp_path / "project")
    with (project / "fastapi" / "api.py").open("a") as api:
        api.write(ENDPOINT)
    insert(project / "fastapi" / "settings.py", "    health_details:", SETTING)
    insert(project / "fastapi" / "main.py", '    Stage("background tasks"', STAGE)
    insert(project / "fastapi" / "main.py", "BEFORE_PORT =", GREET)
    (project / "tests" / "test_greeting.py").write_text(TEST.lstrip())

    red = failures(project)

    assert list(red) == ["tests/test_settings.py::test_every_variable_is_in_env_example"], red
    assert "add to .env.example" in red.popitem()[1]
