"""The files for servers agree with the code and with each other; what they do is in tests/compose/."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from health_routes import PROBES
from main import create_app
from migrate_command import COMMANDS
from server import DRAIN_SECONDS
from settings import Settings

ROOT = Path(__file__).parent.parent
REQUIRED = {"mysql_host": "a", "mysql_database": "a", "mysql_user": "a"}
PASSWORD = {"mysql_password": "a real one"}
FILES = ("docker-compose.dev.yml", "docker-compose.prod.yml", "deploy/swarm.yml")
CADDYFILE = (ROOT / "deploy" / "caddy" / "Caddyfile").read_text()
UPDATE = (ROOT / "deploy" / "update").read_text()


def services(file: str) -> dict[str, Any]:
    """Those that run the image of the service."""
    every = yaml.safe_load((ROOT / file).read_text())["services"]
    return {name: each for name, each in every.items() if name.startswith(("fastapi", "migrate"))}


REPLICAS = [name for name in services("docker-compose.prod.yml") if name.startswith("fastapi")]


@pytest.mark.parametrize("file", FILES)
def test_settings_are_known(file: str) -> None:
    """Every variable that a file gives to the service is one of its settings, and a fixed value is a valid one."""
    for service in services(file).values():
        given = service.get("environment", {})
        variables = dict(each.partition("=")[::2] for each in given) if isinstance(given, list) else given
        fixed = {name.lower(): value for name, value in variables.items() if value and "$" not in str(value)}
        checked = {name: value for name, value in fixed.items() if not name.endswith("_file")}

        assert {name.lower() for name in variables} <= Settings.model_fields.keys()
        Settings.model_validate(REQUIRED | checked | PASSWORD)


@pytest.mark.parametrize("file", ["docker-compose.prod.yml", "deploy/swarm.yml"])
def test_migrations_command(file: str) -> None:
    """The one-shot service runs a command that there is, with more time to stop than a statement has."""
    migrate = services(file)["migrate"]

    assert migrate["command"][:2] == ["python", "migrate.py"]
    assert migrate["command"][2] in COMMANDS
    assert int(migrate["stop_grace_period"].rstrip("s")) > 60


def test_caddy_and_update_know_every_replica() -> None:
    """The replicas of the compose file are those that Caddy asks and that the update replaces."""
    (upstreams,) = re.findall(r"to (fastapi.*)", CADDYFILE)
    (replaced,) = re.findall(r"for replica in (.*); do", UPDATE)

    assert upstreams.split() == [f"{replica}:{Settings.model_fields['port'].default}" for replica in REPLICAS]
    assert replaced.split() == REPLICAS


def test_caddy_closes_and_asks_what_there_is() -> None:
    """The health check is a probe of the service; /metrics is closed, and what FastAPI publishes about the code."""
    (probe,) = re.findall(r"health_uri (\S+)", CADDYFILE)
    (closed,) = re.findall(r"@closed path (.*)", CADDYFILE)
    app = create_app()

    assert probe in PROBES
    assert {"/metrics*", "/docs*", "/redoc*", app.openapi_url} == set(closed.split())


def test_caddy_has_time_for_the_requests_in_flight() -> None:
    """Caddy waits longer for its requests than a replica does, and the engine longer than Caddy."""
    (grace,) = re.findall(r"grace_period (\d+)s", CADDYFILE)
    compose = yaml.safe_load((ROOT / "docker-compose.prod.yml").read_text())

    assert DRAIN_SECONDS < int(grace) < int(compose["services"]["caddy"]["stop_grace_period"].rstrip("s"))
