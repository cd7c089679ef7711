"""What the figures are made of: the subjects as processes, a load generator, and stopwatches."""

import asyncio
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import NamedTuple, Self

import psutil

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT / "tests" / "support"), str(ROOT / "fastapi")]

from database_server import DatabaseServer  # noqa: E402
from process import Service as Service  # noqa: E402
from proxy import Proxy as Proxy  # noqa: E402  the tests' helpers

POLL = 0.005  # seconds between two looks at /health: the resolution of what is timed so
RESTART = 0.1  # seconds until Docker starts a container again that ran for 10 s or more
KILLED_AFTER = 10.0  # seconds after SIGTERM, as Docker does
CONNECTIONS = 16  # of the load generator
UVICORN = "{python} -m uvicorn --no-access-log --timeout-graceful-shutdown 8 --port {{port}} "
COMMANDS = {
    "service": "{python} main.py",
    "tutorial": UVICORN + "tutorial:app",
    "prestart": "{python} prestart.py && exec " + UVICORN + "prestart:app",
    "per_probe": UVICORN + "per_probe:app",
    "service_untyped": f"{{python}} {ROOT / 'tests/support/programs.py'} untyped",
    "tutorial_requests": "{python} -m uvicorn --port {{port}} tutorial_requests:app",
    "jobs_service": "{python} jobs_service.py",
    "jobs_apscheduler": "{python} jobs_apscheduler.py",
    "jobs_saq": "{python} jobs_saq.py",
    "bare_route": UVICORN + "bare_route:app",
    "bare_asgi": UVICORN + "bare_asgi:app",
}
WRK = shutil.which("wrk")
LOAD_GENERATOR = "wrk" if WRK else "a Python loop (wrk is not installed), which lowers every figure"


class Load(NamedTuple):
    """What the load generator saw. `cpu`: requests per second of the server's own CPU time, immune to neighbours."""

    rate: float
    failed: float
    p50_ms: float
    p99_ms: float
    cpu: float


class Lab:
    """A database server, a copy of the service without anyone's `.env`, and every process started from here."""

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="bench-"))
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "fastapi", self.folder / "service" / "fastapi", ignore=ignored)
        shutil.copytree(ROOT / "bench" / "subjects", self.folder / "subjects", ignore=ignored)
        (self.folder / "server").mkdir()
        self.server = DatabaseServer(self.folder / "server")
        self.server.start()
        self.server.restore()
        self._services: list[Service] = []
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for service in self._services:
            end(service)
        self.server.kill()
        shutil.rmtree(self.folder)

    def start(
        self,
        subject: str,
        mysql_port: int | None = None,
        prefix: tuple[str, ...] = (),
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Service:
        """A process of this subject, as its user would start it; `prefix` is a program that runs it."""
        environment = {
            "PATH": os.environ["PATH"],
            "MYSQL_HOST": "127.0.0.1",
            "MYSQL_PORT": str(mysql_port or self.server.port),
            "MYSQL_DATABASE": "app",
            "MYSQL_USER": "app",
            "MYSQL_PASSWORD": self.server.password,
            "PYTHONPATH": str(self.folder / "service" / "fastapi"),
            **settings,
        }
        command = COMMANDS[subject].format(python=sys.executable)
        shell = [*prefix, "sh", "-c", command if "&&" in command else f"exec {command}"]
        folder = self.folder / ("service/fastapi" if subject == "service" else "subjects")
        service = Service(folder, environment, self.folder / f"log-{len(self._services)}", shell)
        self._services.append(service)
        return service

    @contextmanager
    def running(self, subject: str, mysql_port: int | None = None) -> Iterator[Service]:
        """A process of this subject that has answered 200."""
        service = self.start(subject, mysql_port)
        try:
            until(lambda: ok(service))
            yield service
        finally:
            end(service)


def ok(service: Service, path: str = "/health", within: float = math.inf) -> bool:
    """Whether the service answers 200, within so many seconds."""
    with suppress(OSError):
        answer = service.ask(path)
        return answer.status == 200 and answer.seconds < within
    return False


def until(done: Callable[[], bool], poll: float = POLL, limit: float = 90) -> float:
    """The seconds until `done`. Raises TimeoutError."""
    began = time.monotonic()
    while not done():
        if time.monotonic() - began > limit:
            raise TimeoutError
        time.sleep(poll)
    return time.monotonic() - began


def time_start(lab: Lab, subject: str) -> tuple[float, float]:
    """Seconds from the start of the process until its port answers, and until `/health` is 200."""
    began = time.monotonic()
    service = lab.start(subject)
    until(lambda: ok(service, "/health/live" if subject == "service" else "/health"))
    answered = time.monotonic() - began
    until(lambda: ok(service), poll=0.02)  # more often would slow down what it waits for
    ready = time.monotonic() - began
    end(service)
    return answered, ready


def time_reaction(lab: Lab, subject: str, waiting: float) -> float:
    """Seconds until 200, from the moment the database's port opens, `waiting` seconds after the start."""
    with Proxy(lab.server.port) as network:
        network.break_with("refuse")
        service = lab.start(subject, network.port)
        up_at = time.monotonic() + waiting

        def ready(look: bool) -> bool:
            nonlocal service
            if service.process.poll() is not None:  # it gave up, and a restart policy starts it again
                time.sleep(RESTART)
                service = lab.start(subject, network.port)
            return look and ok(service)

        until(lambda: ready(look=False) or time.monotonic() > up_at)
        network.heal()
        seconds = until(lambda: ready(look=True))
        end(service)
    return seconds


def time_outage(lab: Lab, service: Service, network: Proxy, fault: str) -> tuple[float, float]:
    """Seconds until `/health` reports that the database is gone, and until it reports that it is back.

    "frozen" stops the real server's process; the other faults are the network's, for open and new connections.
    """
    if fault == "frozen":
        lab.server.freeze()
    else:
        network.break_with(fault)
    try:
        reported = until(lambda: not ok(service))
    finally:
        if fault == "frozen":
            lab.server.thaw()
        else:
            network.heal()
    return reported, until(lambda: ok(service))


def time_stop(lab: Lab, subject: str, waiting: bool, as_pid_1: bool) -> tuple[float, int]:
    """Seconds from SIGTERM to the end, and the exit code (137: had to be killed, as Docker does after 10 s)."""
    user = () if os.geteuid() == 0 else ("--user", "--map-root-user")
    prefix = ("unshare", *user, "--pid", "--fork", "--kill-child") if as_pid_1 else ()
    with Proxy(lab.server.port) as network:
        if waiting:
            network.break_with("refuse")
        service = lab.start(subject, network.port, prefix)
        if waiting:
            time.sleep(2)  # for no condition: a waiting process of most subjects shows no sign of life
        else:
            until(lambda: ok(service))
        top = psutil.Process(service.process.pid)
        target = top.children()[0] if as_pid_1 else top
        began = time.monotonic()
        target.terminate()
        try:
            code = service.process.wait(KILLED_AFTER)
            return time.monotonic() - began, code if code >= 0 else 128 - code  # as a shell counts a signal
        except subprocess.TimeoutExpired:
            return KILLED_AFTER, 128 + signal.SIGKILL
        finally:
            end(service)


def count_queries(lab: Lab, service: Service, probes: int = 1000) -> tuple[int, float]:
    """Statements that the server ran during so many probes, 200 a second where they can be, and the seconds."""
    lab.server.status("Questions")
    before = lab.server.status("Questions")
    own = before - lab.server.status("Questions")  # what asking costs, negative
    before -= own
    began = time.monotonic()
    for number in range(probes):
        time.sleep(max(0.0, began + number / 200 - time.monotonic()))
        service.ask("/health")
    seconds = time.monotonic() - began
    return lab.server.status("Questions") - before + own, seconds


class Footprint(NamedTuple):
    """What a process holds."""

    mb: float
    threads: int
    files: int
    connections: int


def footprint(lab: Lab, service: Service) -> Footprint:
    """Resident memory, threads, open files, and connections as the database counts them."""
    process = psutil.Process(service.process.pid)
    memory = process.memory_info().rss / 1e6
    return Footprint(memory, process.num_threads(), process.num_fds(), len(lab.server.connections()))


def load(service: Service, path: str, seconds: int, connections: int = CONNECTIONS) -> Load:
    """Requests without a pause over so many connections, by wrk where it is installed."""
    process = psutil.Process(service.process.pid)
    url = f"http://127.0.0.1:{service.port}{path}"
    before = sum(process.cpu_times()[:2])
    if WRK:
        options = ["--threads=1", f"--connections={connections}", f"--duration={seconds}", "--latency", "--timeout=30"]
        command = [WRK, *options, url]
        rate, failed, p50, p99 = _read_wrk(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    else:
        rate, failed, p50, p99 = asyncio.run(_python_load(service.port, path, seconds, connections))
    spent = sum(process.cpu_times()[:2]) - before
    return Load(rate, failed, p50, p99, rate * seconds / spent if spent else 0.0)


def _read_wrk(text: str) -> tuple[float, float, float, float]:
    """Requests a second, how many were not answered with 2xx, and the 50th and the 99th percentile in milliseconds."""
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate, text
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}
    times = {part: float(n) * unit[u] for part, n, u in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s|m)\b", text)}
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    return float(rate[1]), float(failed[1]) if failed else 0.0, times.get("50", 0.0), times.get("99", 0.0)


async def _python_load(port: int, path: str, seconds: float, connections: int) -> tuple[float, float, float, float]:
    """The fallback: asyncio's streams. It costs about as much as the servers themselves and lowers every figure."""
    request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    times: list[float] = []
    failed = 0

    async def connection() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < end_at:
            began = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head, re.IGNORECASE)
            await reader.readexactly(int(length[1]) if length else 0)
            times.append((time.perf_counter() - began) * 1000)
            failed += not head.startswith(b"HTTP/1.1 2")
        writer.close()

    end_at = time.perf_counter() + seconds
    with suppress(TimeoutError):
        await asyncio.wait_for(asyncio.gather(*(connection() for _ in range(connections))), seconds + 1)
    times = sorted(times) or [0.0]
    return len(times) / seconds, float(failed), times[len(times) // 2], times[len(times) * 99 // 100]


def end(service: Service) -> None:
    """Leaves nothing of it running."""
    with suppress(psutil.NoSuchProcess):
        for child in psutil.Process(service.process.pid).children(recursive=True):
            child.kill()
    service.end()
