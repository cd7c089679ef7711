"""Every combination of the compose files that the documents name: complete, and without a warning."""

import os
import subprocess
from pathlib import Path

import pytest
from compose.stack import PROJECT

pytestmark = pytest.mark.compose

FILES = "docker-compose{}.yml"
BASES = [[""], ["", ".secrets"], [".external-db"], [".external-db", ".dev"], [".prod"], [".prod", ".prod-mysql"]]
COMBINATIONS = [*BASES, ["", ".logs"], ["", ".redis"], *([*base, ".monitoring"] for base in BASES)]
SETTINGS = {"SITE": "site.test", "MYSQL_HOST": "mysql", "REDIS_PASSWORD": "abc"}  # what .env.example has no value for


@pytest.mark.parametrize("parts", COMBINATIONS, ids=["+".join(each) or "base" for each in COMBINATIONS])
def test_combination(parts: list[str], tmp_path: Path) -> None:
    """`docker compose config` takes it with the settings of .env.example, silently, and makes the same of it always.

    Compose 2.40 does not, where one file extends another that extends a third and resets something on the way.
    """
    (tmp_path / ".env").write_text((PROJECT / ".env.example").read_text())
    files = [option for part in parts for option in ("--file", str(PROJECT / FILES.format(part)))]
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | SETTINGS

    runs = [
        subprocess.run(
            ["docker", "compose", "--env-file", ".env", *files, "config"],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60,
        )
        for _ in range(4)
    ]  # fmt: skip

    assert {run.returncode for run in runs} == {0}, runs[0].stderr
    assert {run.stderr for run in runs} == {""}
    assert len({run.stdout for run in runs}) == 1


def test_every_file_is_in_a_combination() -> None:
    """A new file gets its combination here."""
    named = {FILES.format(part) for parts in COMBINATIONS for part in parts}

    assert named == {file.name for file in PROJECT.glob("docker-compose*.yml")}
