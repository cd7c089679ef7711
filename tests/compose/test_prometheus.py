"""A real Prometheus that scrapes the real service: its own checks, an outage that becomes an alert, the dashboard."""

import json
import re
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose.conftest import NewStack
from compose.stack import PROJECT
from monitoring import JOBS, PROMETHEUS, dashboard_queries, names_in
from ports import free_port
from process import Service, Start
from proxy import Proxy

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

IMAGE = "prom/prometheus:v3"


def promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    folder = ["--volume", f"{PROMETHEUS}:/etc/prometheus:ro", "--workdir", "/etc/prometheus"]
    return subprocess.run(
        ["docker", "run", "--rm", "--interactive", "--entrypoint", "promtool", *folder, IMAGE, *arguments],
        input=text, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "prometheus.yml"),
        ("check", "rules", "rules.yml"),
        ("test", "rules", "rules.test.yml"),
    ],
    ids=["config", "rules", "tests of the rules"],
)
def test_promtool_has_nothing_to_say(arguments: tuple[str, ...]) -> None:
    """The files are valid, and each alert fires when it should."""
    done = promtool(*arguments)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout


def test_the_metrics_are_well_named(start: Start) -> None:
    """`promtool check metrics` finds nothing in what a service tells that has met all that it can count."""
    service = start()
    service.wait_until_ok()
    service.ask("/api/test")
    service.ask("/nobody")

    done = promtool("check", "metrics", text=service.ask("/metrics").text)

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


class Prometheus:
    """A running one, with our files; its port is on this machine alone."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, path: str, **query: str) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)["data"]

    def query(self, text: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.ask("query", query=text)["result"]
        return found

    def firing(self) -> set[str]:
        return {each["metric"]["alertname"] for each in self.query('ALERTS{alertstate="firing"}')}


def until(what: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if what():
                return
        except OSError:  # it is starting
            pass
        assert time.monotonic() < deadline, f"not in {seconds} s"
        time.sleep(0.2)


@pytest.fixture
def service(start: Start, proxy: Proxy) -> Service:
    """It has an endpoint whose statement is never answered."""
    service = start(program="sleeping_statement 60", MYSQL_PORT=proxy.port, DB_READ_TIMEOUT=2)
    service.wait_until_ok()
    return service


@pytest.fixture
def prometheus(service: Service, run_name: str, tmp_path: Path) -> Iterator[Prometheus]:
    """Our configuration with the service as its target, every second, and a fortieth of each alert's patience."""
    folder = tmp_path / "prometheus"
    shutil.copytree(PROMETHEUS, folder)
    config = yaml.safe_load((folder / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    job = config["scrape_configs"][0]
    del job["dns_sd_configs"]
    job["static_configs"] = [{"targets": [f"127.0.0.1:{service.port}"]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    rules = folder / "rules.yml"
    rules.write_text(re.sub("for: 2m", "for: 3s", rules.read_text()))
    found, name = Prometheus(free_port()), f"{run_name}-prometheus"
    started = [
        "docker", "run", "--detach", "--name", name, "--network", "host", "--user", "0", "--tmpfs", "/prometheus",
        "--volume", f"{folder}:/etc/prometheus:ro", IMAGE, "--config.file=/etc/prometheus/prometheus.yml",
        "--storage.tsdb.path=/prometheus", f"--web.listen-address=127.0.0.1:{found.port}",
    ]  # fmt: skip
    subprocess.run(started, check=True, capture_output=True, timeout=60)
    yield found
    subprocess.run(["docker", "rm", "--force", name], check=True, capture_output=True, timeout=60)


def test_an_outage_is_an_alert(prometheus: Prometheus, service: Service, proxy: Proxy) -> None:
    """While the database is away ServiceNotReady fires, and it ends by itself."""
    until(lambda: prometheus.query('application_status{status="ok"} == 1') != [] and prometheus.firing() == set())

    proxy.break_with("refuse")
    until(lambda: prometheus.firing() == {"ServiceNotReady"})
    proxy.heal()

    until(lambda: prometheus.firing() == set())


def test_a_service_that_is_gone_is_an_alert(prometheus: Prometheus, service: Service) -> None:
    """So is a process that does not answer at all."""
    until(lambda: prometheus.query("up == 1") != [])

    service.terminate()

    until(lambda: "ServiceNotReady" in prometheus.firing())


def test_statements_that_hang_are_an_alert(prometheus: Prometheus, service: Service) -> None:
    """Health is ok, because SELECT 1 is answered; that other statements are not is an alert of its own."""
    until(lambda: prometheus.query('application_status{status="ok"} == 1') != [] and prometheus.firing() == set())

    def asked() -> set[str]:
        assert service.ask("/sleep").status == 503
        return prometheus.firing()

    until(lambda: asked() == {"StatementsHang"})

    assert service.health()["status"] == "ok"


def test_the_dashboard_is_answered(prometheus: Prometheus, service: Service) -> None:
    """Each query of the dashboard is valid, and has an answer from a service that works."""

    def asked() -> list[str]:
        service.ask("/api/test")
        return [query for query in dashboard_queries() if not prometheus.query(query)]

    unanswered: list[str] = []
    elsewhere = JOBS | {"probe_ssl_earliest_cert_expiry", "http_unavailable_total"}  # there is nothing of it here

    def all_answered() -> bool:
        unanswered[:] = [query for query in asked() if not names_in(query) & elsewhere]
        return not unanswered

    try:
        until(all_answered)
    except AssertionError:
        assert unanswered == []


def test_the_compose_file(new_stack: NewStack) -> None:
    """Laid over docker-compose.yml, its Prometheus finds the service by name, without a setting."""
    stack = new_stack(PROMETHEUS_PORT=free_port())
    shutil.copytree(PROJECT / "deploy", stack.folder / "deploy")
    stack.files = ["docker-compose.yml", "docker-compose.monitoring.yml"]
    stack.up("fastapi", "prometheus")
    prometheus = Prometheus(stack.config()["services"]["prometheus"]["ports"][0]["published"])

    until(lambda: prometheus.query('application_status{status="ok"} == 1') != [], 120)

    assert [each["metric"]["instance"].rpartition(":")[2] for each in prometheus.query('up{job="service"}')] == ["8000"]
    config = stack.try_compose("config", "--quiet")
    assert (config.returncode, config.stderr) == (0, "")
