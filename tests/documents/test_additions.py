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
    """The tests that fail in a project, with pytest's line about each. Those of the page know none of all this."""
    command = [sys.executable, "-m", "pytest", "-m", "not compose", "-q", "--no-header", "-p", "no:cacheprovider"]
    left_out = ["--ignore=tests/test_page.py", f"--ignore=tests/documents/{Path(__file__).name}"]
    slow = ["-k", "not commands_of and not test_verify and not 100_outages"]
    wide = os.environ | {"COLUMNS": "500"}  # so that pytest does not shorten its lines
    done = subprocess.run([*command, *left_out, *slow], cwd=folder, env=wide, capture_output=True, text=True)
    assert " passed" in done.stdout, done.stdout + done.stderr
    return dict(re.findall(r"^(?:FAILED|ERROR) (\S+) - (.*)$", done.stdout, re.M))


@pytest.mark.timeout(1800)
def test_an_endpoint_a_setting_and_a_test(tmp_path: Path) -> None:
    """All three at once: only the list of variables is red, and says what to add and where."""
    project = copy_of_project(tmp_path / "project")
    with (project / "fastapi" / "api.py").open("a") as api:
        api.write(ENDPOINT)
    settings = project / "fastapi" / "settings.py"
    settings.write_text(re.sub("^    health_details:", rf"{SETTING}\g<0>", settings.read_text(), count=1, flags=re.M))
    (project / "tests" / "test_greeting.py").write_text(TEST.lstrip())

    red = failures(project)

    assert list(red) == ["tests/test_settings.py::test_every_variable_is_in_env_example"], red
    assert "add to .env.example" in red.popitem()[1]
