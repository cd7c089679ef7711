"""The compose project as its users meet it: a copy of its own, driven by `docker compose`, watched from outside."""

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ports import free_port

PROJECT = Path(__file__).parent.parent.parent
SETTINGS = {"MYSQL_DATABASE": "app", "MYSQL_USER": "app", "MYSQL_PASSWORD": "the password of the tests"}
NO_ANSWER = 0


class Answer(NamedTuple):
    """An HTTP answer; the status is NO_ANSWER where nobody answered."""

    status: int
    body: Any = None

    @property
    def reason(self) -> Any:
        return (self.body or {}).get("database", {}).get("reason")


class State(NamedTuple):
    """What the engine knows of a container."""

    status: str
    exit_code: int
    restarts: int
    started: datetime
    health: str


class Stack:
    """One project of `docker compose`, with a name, a port, a `.env` and copies of the files that no other has."""

    def __init__(
        self, folder: Path, name: str, image: str, settings: Mapping[str, object], engine: str | None = None
    ) -> None:
        self.folder = folder
        self.name = name
        self.port = free_port()
        self.files: list[str]
        # Nothing of the machine's own variables: they would win over `.env`.
        self._environment = {key: os.environ[key] for key in ("PATH", "HOME", "DOCKER_CONFIG") if key in os.environ}
        if engine or "DOCKER_HOST" in os.environ:
            self._environment["DOCKER_HOST"] = engine or os.environ["DOCKER_HOST"]
        self._image = image
        self._defaults: dict[str, object] = {**SETTINGS, "PORT": self.port, **settings}
        self.reset()

    def reset(self) -> None:
        """All files and the image of the service as they were at first."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        shutil.copytree(PROJECT / "fastapi", self.folder / "fastapi", ignore=shutil.ignore_patterns("__pycache__"))
        for file in PROJECT.glob("docker-compose*.yml"):
            shutil.copy(file, self.folder)
        self.files = []
        self._settings = dict(self._defaults)
        self.set()
        self.docker("tag", self._image, f"{self.name}-fastapi")  # built once for all: `up` finds it made

    def set(self, **settings: object) -> None:
        """Writes `.env` anew. None leaves a variable out."""
        self._settings |= settings
        lines = [f"{key}={_quoted(str(value))}\n" for key, value in self._settings.items() if value is not None]
        (self.folder / ".env").write_text("".join(lines))

    def override(self, text: str) -> None:
        """Writes the file that compose adds to `docker-compose.yml` by itself."""
        (self.folder / "docker-compose.override.yml").write_text(text)

    # Commands

    def docker(self, *arguments: str, seconds: float = 120) -> str:
        """`docker ...`: what it prints. Raises AssertionError, with what it says, when it fails."""
        done = self.run("docker", *arguments, seconds=seconds)
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def compose(self, *arguments: str, seconds: float = 180) -> str:
        """`docker compose ...`: what it prints. Raises AssertionError, with what it says, when it fails."""
        done = self.try_compose(*arguments, seconds=seconds)
        assert done.returncode == 0, f"docker compose {' '.join(arguments)}: {done.stderr}\n{self.story}"
        return done.stdout

    def try_compose(self, *arguments: str, seconds: float = 180) -> subprocess.CompletedProcess[str]:
        return self.run(*self.command(*arguments), seconds=seconds)

    def command(self, *arguments: str) -> list[str]:
        files = [part for file in self.files for part in ("--file", file)]
        return ["docker", "compose", "--project-name", self.name, *files, *arguments]

    def run(self, *command: str, seconds: float) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=self.folder, env=self._environment, capture_output=True, text=True, timeout=seconds
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """`docker compose ...` that goes on beside the test; its output is in one stream."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def up(self, *arguments: str, seconds: float = 180) -> None:
        self.compose("up", "--detach", "--wait", *arguments, seconds=seconds)

    def remove(self) -> None:
        """Leaves no container, network, volume or image of this project behind."""
        self.reset()
        self.compose("down", "--volumes", "--remove-orphans", "--timeout", "5")
        self.docker("image", "rm", f"{self.name}-fastapi")
        label = f"label=com.docker.compose.project={self.name}"
        # What a rebuild has left without a name.
        self.docker("image", "prune", "--force", "--filter", label, seconds=300)

    def kill_process(self, service: str) -> None:
        """SIGKILL for the main process from outside the engine, as by the kernel when memory runs out."""
        self.docker(
            "run", "--rm", "--pid", "host", "--user", "0", "--network", "none", f"{self.name}-fastapi",
            "python", "-c", f"import os; os.kill({self.inspect(service)['State']['Pid']}, 9)",
        )  # fmt: skip

    # What can be seen

    @staticmethod
    def now() -> float:
        """The time as `exit_codes` and `log` want it."""
        return time.time()

    @staticmethod
    def tell(measured: str) -> None:
        """Shows what was measured; `pytest -rP` prints it."""
        print(measured)

    def get(self, path: str = "/health", timeout: float = 60, port: int | None = None) -> Answer:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=timeout)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            text = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(response.status, json.loads(text) if is_json else None)
        except (OSError, http.client.HTTPException):
            return Answer(NO_ANSWER)
        finally:
            connection.close()

    def probe(self) -> str:
        """What HEALTHCHECK's command says, in the container."""
        check = self.inspect("fastapi")["Config"]["Healthcheck"]["Test"]
        return self.compose("exec", "fastapi", *check[1:]).strip()

    def container(self, service: str) -> str:
        return self.compose("ps", "--all", "--quiet", service).strip()

    def inspect(self, service: str) -> Any:
        return json.loads(self.docker("inspect", self.container(service)))[0]

    def state(self, service: str) -> State:
        container = self.inspect(service)
        state = container["State"]
        return State(
            state["Status"],
            state["ExitCode"],
            container["RestartCount"],
            datetime.fromisoformat(state["StartedAt"]),
            state["Health"]["Status"],
        )

    def ps(self, service: str) -> str:
        """The column STATUS of `docker compose ps`."""
        return self.compose("ps", "--all", "--format", "{{.Status}}", service).strip()

    def health_log(self, service: str) -> list[dict[str, Any]]:
        """The last five checks: Start, End, ExitCode, Output."""
        return list(self.inspect(service)["State"]["Health"]["Log"])

    def exit_codes(self, service: str, since: float) -> list[int]:
        """Of every end of the service's main process since then, restarts included."""
        events = self.docker(
            "events", "--since", f"{since:.3f}", "--until", f"{time.time():.3f}", "--format", "{{json .}}",
            "--filter", f"label=com.docker.compose.project={self.name}",
            "--filter", f"label=com.docker.compose.service={service}", "--filter", "event=die",
        )  # fmt: skip
        return [int(json.loads(line)["Actor"]["Attributes"]["exitCode"]) for line in events.splitlines()]

    def log(self, service: str, since: float = 0) -> str:
        """The lines since then, each after the time the engine got it."""
        return self.compose("logs", "--no-log-prefix", "--timestamps", "--since", f"{since:.3f}", service)

    def ready_at(self, service: str, since: float) -> float:
        """When the service last said that it is ready, after `since`."""
        words = {"mysql": "ready for connections", "fastapi": "ready after"}[service]
        lines = [line for line in self.log(service, since).splitlines() if words in line]
        return datetime.fromisoformat(lines[-1].split()[0]).timestamp()

    def config(self) -> Any:
        """What compose makes of the files and `.env`."""
        return json.loads(self.compose("config", "--format", "json"))

    def volumes(self) -> list[str]:
        label = f"label=com.docker.compose.project={self.name}"
        return self.docker("volume", "ls", "--quiet", "--filter", label).split()

    def sql(self, statement: str) -> str:
        """Runs a statement as the app's user, in the container of the database."""
        client = '"$(command -v mysql || command -v mariadb)"'
        login = 'MYSQL_PWD="$MYSQL_PASSWORD" {} --user="$MYSQL_USER" --batch --skip-column-names "$MYSQL_DATABASE"'
        return self.compose("exec", "-T", "mysql", "sh", "-c", f'{login.format(client)} -e "$0"', statement).strip()

    @property
    def story(self) -> str:
        """For a failed test: what the user would look at."""
        ps = self.try_compose("ps", "--all").stdout
        return ps + self.try_compose("logs", "--no-color", "--tail", "30").stdout

    # Waiting

    def until(self, what: Callable[[], bool], seconds: float = 30) -> float:
        """Polls until `what` holds, and returns the seconds that took."""
        began = time.monotonic()
        while not what():
            assert time.monotonic() - began < seconds, f"not within {seconds} s; {self.get()}\n{self.story}"
            time.sleep(0.05)
        return time.monotonic() - began

    def until_status(self, status: int, seconds: float = 30) -> Answer:
        """Polls /health until it answers with `status`."""
        self.until(lambda: self.get().status == status, seconds)
        return self.get()

    def until_reason(self, *reasons: str, seconds: float = 30) -> Answer:
        """Polls /health until it is 503 for one of the reasons."""
        self.until(lambda: self.get().reason in reasons, seconds)
        answer = self.get()
        assert answer.status == 503
        return answer

    def stays(self, what: Callable[[], bool], seconds: float = 2) -> None:
        """Checks that `what` goes on holding; the engine would restart a container within 0.1 s."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            assert what(), self.story
            time.sleep(0.1)


def _quoted(value: str) -> str:
    """Single quotes keep everything as it is, but for a single quote itself and a backslash before it."""
    return "'" + value.replace("'", "\\'") + "'"
