"""The files that other programs read (workflow, Dependabot, pre-commit): they cannot run here, but be checked."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def _run(*command: str) -> None:
    done = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("schema", "file"),
    [("vendor.github-workflows", ".github/workflows/ci.yml"), ("vendor.dependabot", ".github/dependabot.yml")],
)
def test_github_files_keep_to_their_schema(schema: str, file: str) -> None:
    """A key that GitHub does not know is found here, not there."""
    _run("check-jsonschema", "--builtin-schema", schema, file)


def test_pre_commit_configuration() -> None:
    """pre-commit itself reads it."""
    _run("pre-commit", "validate-config")


def test_scripts_of_the_workflow_exist() -> None:
    """The workflow runs scripts that are here and may be executed."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()

    for script in (".ci/run", "./test", ".ci/smoke"):
        assert f"run: {script}" in workflow
        assert (ROOT / script).stat().st_mode & 0o111
