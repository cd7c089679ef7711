"""deploy/swarm.yml on a swarm of one node: the migration job, an update, and an update that goes back by itself.

The kernel of a test machine may have no IPVS: then there is no routing mesh and there are no virtual addresses. So the
published port is left out here, and the names of the services lead to their replicas by DNS.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from compose.stack import PROJECT

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]

HERE = """
services:
  mysql:
    image: ${MYSQL_IMAGE:-mysql:9.7}
    environment:
      MYSQL_DATABASE: app
      MYSQL_USER: app
      MYSQL_PASSWORD_FILE: /run/secrets/mysql_password
      MYSQL_RANDOM_ROOT_PASSWORD: "yes"
    secrets: [mysql_password]
    volumes: [mysql-data:/var/lib/mysql]
    deploy: {endpoint_mode: dnsrr}
  fastapi:
    deploy: {endpoint_mode: dnsrr}
  migrate:
    deploy: {endpoint_mode: dnsrr}
volumes:
  mysql-data:
"""
PUBLISHED = "    ports: [{target: 8000, published: 8000}]\n"
SECRETS = [f"bootstrap_{name}" for name in ("mysql_password", "migrate_password", "admin_password", "jwt_secret")]
SECOND = "ENV SECOND=yes"
BROKEN = 'CMD ["python", "-c", "raise SystemExit(70)"]'


class Swarm:
    """A swarm of this engine alone, with one stack."""

    def __init__(self, folder: Path, name: str, image: str) -> None:
        self.name, self._folder = name, folder
        self._settings = {"MYSQL_HOST": "mysql", "MIGRATE_USER": "app"}
        self.images = {"first": f"{image}:latest"} | {kind: f"{name}-swarm:{kind}" for kind in ("second", "broken")}
        text = (PROJECT / "deploy" / "swarm.yml").read_text()
        assert PUBLISHED in text
        (folder / "swarm.yml").write_text(text.replace(PUBLISHED, ""))
        (folder / "here.yml").write_text(HERE)

    def docker(self, *arguments: str, text: str = "", check: bool = True) -> str:
        done = subprocess.run(
            ["docker", *arguments], cwd=self._folder, env=os.environ | self._settings, input=text, capture_output=True,
            text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0 or not check, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def begin(self) -> None:
        self.docker("swarm", "init", "--advertise-addr", "127.0.0.1")
        for secret in SECRETS:
            self.docker("secret", "create", secret, "-", text="the password of the tests, of 32 or more characters")
        for kind, line in (("second", SECOND), ("broken", BROKEN)):
            dockerfile = f"FROM {self.images['first']}\n{line}\n"
            self.docker("build", "--tag", self.images[kind], "-", text=dockerfile)
        self.deploy("first")

    def deploy(self, kind: str) -> None:
        self._settings["SERVICE_IMAGE"] = self.images[kind]
        files = ("--compose-file", "swarm.yml", "--compose-file", "here.yml")
        self.docker("stack", "deploy", *files, "--resolve-image", "never", "--detach", self.name)

    def inspect(self, service: str) -> Any:
        return json.loads(self.docker("service", "inspect", f"{self.name}_{service}"))[0]

    def replicas(self, service: str) -> str:
        """As `docker service ls` shows them, such as 2/2."""
        name = f"{self.name}_{service}"
        return self.docker("service", "ls", "--filter", f"name={name}", "--format", "{{.Replicas}}").strip()

    def serving(self) -> list[str]:
        """The images of the healthy containers of the service."""
        label = f"label=com.docker.swarm.service.name={self.name}_fastapi"
        return self.docker("ps", "--filter", label, "--filter", "health=healthy", "--format", "{{.Image}}").split()

    def until(self, what: Callable[[], bool], seconds: float, always: Callable[[], bool] = lambda: True) -> None:
        """Polls until `what` holds, and checks that `always` does meanwhile."""
        deadline = time.monotonic() + seconds
        while not what():
            assert always(), self.story
            assert time.monotonic() < deadline, self.story
            time.sleep(0.2)

    @property
    def story(self) -> str:
        logs = self.docker("service", "logs", "--tail", "20", f"{self.name}_fastapi", check=False)
        return self.docker("stack", "ps", "--no-trunc", self.name, check=False) + logs

    def remove(self) -> None:
        self.docker("stack", "rm", self.name, check=False)
        label = f"label=com.docker.stack.namespace={self.name}"
        self.until(lambda: not self.docker("ps", "--all", "--quiet", "--filter", label), 90)
        self.docker("swarm", "leave", "--force", check=False)
        self.docker("volume", "rm", f"{self.name}_mysql-data", check=False)
        self.docker("image", "rm", self.images["second"], self.images["broken"], check=False)


@pytest.fixture(scope="module")
def swarm(image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Swarm]:
    """The stack in a swarm, serving. Afterwards the engine is in none."""
    swarm = Swarm(tmp_path_factory.mktemp("swarm"), f"{run_name}-swarm", image)
    try:
        swarm.begin()
        swarm.until(lambda: swarm.replicas("fastapi") == "2/2", 180)
        yield swarm
    finally:
        swarm.remove()


def test_first_deployment(swarm: Swarm) -> None:
    """The job has migrated with its own secret, and both replicas have waited for it and are healthy."""
    assert swarm.replicas("migrate") == "0/1 (1/1 completed)"
    assert swarm.serving() == [swarm.images["first"]] * 2


def test_update(swarm: Swarm) -> None:
    """Another image replaces one replica after the other, and two are healthy at every moment."""
    swarm.deploy("second")
    swarm.until(
        lambda: swarm.inspect("fastapi").get("UpdateStatus", {}).get("State") == "completed",
        180,
        always=lambda: len(swarm.serving()) >= 2,
    )

    swarm.until(lambda: swarm.serving() == [swarm.images["second"]] * 2, 30)


def test_update_that_goes_back(swarm: Swarm) -> None:
    """An image that does not get healthy is taken back by itself, and two replicas are healthy at every moment."""
    before = swarm.inspect("fastapi")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
    swarm.deploy("broken")
    swarm.until(
        lambda: swarm.inspect("fastapi")["UpdateStatus"]["State"] == "rollback_completed",
        180,
        always=lambda: len(swarm.serving()) >= 2,
    )

    assert swarm.inspect("fastapi")["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"] == before
    assert set(swarm.serving()) == {before}
