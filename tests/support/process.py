"""The service as its users meet it: a process with a port, a log and an exit code."""

import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ports import free_port


class Answer(NamedTuple):
    """An HTTP answer and how long it took."""

    status: int
    headers: http.client.HTTPMessage
    text: str
    seconds: float

    @property
    def json(self) -> Any:
        return json.loads(self.text)


class Service:
    """A running service. Its environment holds only what the test says."""

    def __init__(self, folder: Path, environment: dict[str, str], log: Path, command: list[str] | None = None) -> None:
        self.port = int(environment.get("PORT") or free_port())
        self._log = log
        self._answers: list[str] = []
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [part.format(port=self.port) for part in command or [sys.executable, "main.py"]],
                cwd=folder,
                env=environment | {"PORT": str(self.port)},
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def story(self) -> str:
        """The log without the lines that polling makes."""
        return "\n".join(line for line in self.log.splitlines() if "GET /health" not in line)

    @property
    def everything_said(self) -> str:
        return self.log + "".join(self._answers)

    def ask(
        self,
        path: str,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        timeout: float = 60,
        body: str | None = None,
    ) -> Answer:
        """One request over a connection of its own. Raises OSError when nothing answers."""
        began = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        self._answers.append(text + str(response.headers))
        return Answer(response.status, response.headers, text, time.monotonic() - began)

    def health(self) -> Any:
        """The body of /health, or None while the port is closed."""
        try:
            return self.ask("/health").json
        except OSError:
            return None

    def wait_for(self, what: Callable[[Any], bool], seconds: float = 60) -> Any:
        """Polls /health until `what` holds for its body, and returns the body."""
        deadline = time.monotonic() + seconds
        while True:
            body = self.health()
            if body and what(body):
                return body
            assert self.process.poll() is None, f"exit code {self.process.returncode}\n{self.story}"
            assert time.monotonic() < deadline, f"not in {seconds} s: {body}\n{self.story}"
            time.sleep(0.02)

    def wait_until_ok(self, seconds: float = 60) -> Any:
        return self.wait_for(lambda body: body["status"] == "ok", seconds)

    def wait_for_reason(self, reason: str, seconds: float = 60) -> Any:
        return self.wait_for(lambda body: body["database"]["reason"] == reason, seconds)

    def wait_for_stage(self, name: str, state: str = "running", seconds: float = 60) -> Any:
        """Polls /health until the stage is in that state, and returns what /health says of the stage."""
        body = self.wait_for(lambda body: stage(body, name)["state"] == state, seconds)
        return stage(body, name)

    def wait_for_log(self, text: str, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        while text not in self.log:
            assert time.monotonic() < deadline, f"{text!r} not in the log after {seconds} s:\n{self.story}"
            time.sleep(0.02)

    def terminate(self, number: int = signal.SIGTERM, seconds: float = 60) -> int:
        """Sends a signal and returns the exit code."""
        self.process.send_signal(number)
        return self.exit_code(seconds)

    def exit_code(self, seconds: float = 60) -> int:
        """Waits for the end of the process."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s:\n{self.story}") from None

    def end(self) -> None:
        """Leaves nothing running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)


def stage(body: Any, name: str) -> Any:
    """What a body of /health says of a stage."""
    return next(each for each in body["stages"] if each["name"] == name)


Start = Callable[..., Service]
