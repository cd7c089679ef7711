"""/metrics: what Prometheus is told, from the first second on, and what it costs."""

import asyncio
import random
import string
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from ports import free_port
from process import Service, Start
from prometheus_client.parser import text_string_to_metric_families
from proxy import Proxy
from starlette.types import Message

from api import router as sample
from middleware import RequestLog
from request_metrics import RequestMetrics

FASTAPI = Path(__file__).parent.parent / "fastapi"

Metrics = dict[str, float]


def metrics(service: Service) -> Metrics:
    """The samples of a scrape, by what stands before the value in their lines."""
    lines = service.ask("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[:1] != "#")}


def wait_for(service: Service, what: Callable[[Metrics], bool]) -> Metrics:
    """Scrapes until `what` holds."""
    found: list[Metrics] = []

    def holds(_: object) -> bool:
        found[:] = [metrics(service)]
        return what(found[0])

    service.wait_for(holds)
    return found[0]


def test_metrics_from_the_first_second(start: Start) -> None:
    """While the database is away they are there, and say so."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_stage("server", "done")

    answer = service.ask("/metrics")
    service.wait_for_stage("database")
    found = metrics(service)

    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    assert found['application_status{status="starting"}'] == 1
    assert found['healthcheck_status{component="database"}'] == 0
    assert found['boot_stage_duration_seconds{stage="server"}'] > 0
    assert "application_ready_time_seconds" not in found


def test_metrics_of_a_ready_service(start: Start) -> None:
    """Health, start, schema and process are told, and each name has a help text and a type."""
    service = start()
    service.wait_until_ok()
    service.ask("/api/test")

    text = service.ask("/metrics").text
    found = metrics(service)
    families = list(text_string_to_metric_families(text))

    assert found['application_status{status="ok"}'] == found['healthcheck_status{component="database"}'] == 1
    assert 0 < found["application_started_time_seconds"] < found["application_ready_time_seconds"]
    assert found['healthcheck_duration_seconds{component="database"}'] > 0
    assert [name for name in found if name.startswith("schema_revision_info{")]
    assert found['db_pool_connections{state="idle"}'] == 1
    assert found["db_pool_connections_max"] == 20
    assert found["process_resident_memory_bytes"] > 1e6
    assert [family.name for family in families if not family.documentation or family.type == "unknown"] == []


def test_a_metrics_outage(start: Start, proxy: Proxy) -> None:
    """A database that goes away is one changed status, and the requests that miss it are counted by their reason."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()

    proxy.break_with("refuse")
    service.wait_for_reason("connection_refused")
    service.ask("/api/test")
    found = metrics(service)

    assert found['application_status{status="unavailable"}'] == 1
    assert found['healthcheck_status{component="database"}'] == 0
    assert found['http_requests_total{method="GET",route="/api/test",status="503"}'] == 1
    assert found['http_unavailable_total{reason="connection_refused"}'] == 1


def test_metrics_are_not_in_the_api(start: Start) -> None:
    """They are no part of the OpenAPI document, and other methods than GET and HEAD are refused."""
    service = start()
    service.wait_until_ok()

    assert "/metrics" not in service.ask("/openapi.json").json["paths"]
    assert service.ask("/metrics", "POST").status == 405
    assert service.ask("/metrics", "HEAD").status == 200


def test_no_middleware_is_in_front_of_metrics(start: Start) -> None:
    """A middleware that breaks every request breaks no scrape."""
    service = start(program="obstacle")
    service.wait_until_ok()

    assert service.ask("/metrics").status == 200


def test_no_probe_waits_for_the_first_scrapes(start: Start, own_folder: Path) -> None:
    """The library of the metrics takes long to import: two scrapes at once wait for it in threads, and nobody else."""
    module, begun, go = (own_folder / "fastapi" / name for name in ("metrics.py", "begun", "go"))
    module.write_text(
        f"{module.read_text()}\n"
        "import pathlib, time\n"
        f"pathlib.Path({str(begun)!r}).touch()\n"
        f"while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.01)\n"
    )
    service = start(folder=own_folder)
    service.wait_until_ok()

    with ThreadPoolExecutor() as pool:
        scrapes = [pool.submit(service.ask, "/metrics")]
        service.wait_for(lambda _: begun.exists())
        scrapes += [pool.submit(service.ask, "/metrics") for _ in range(3)]
        try:
            probes = [service.ask("/health", timeout=10).status for _ in range(20)]
        finally:
            go.touch()

    assert set(probes) == {200}
    assert {scrape.result().status for scrape in scrapes} == {200}


def test_metrics_off(start: Start) -> None:
    """METRICS=off: the path is one like any that is unknown."""
    service = start(METRICS="off")
    service.wait_until_ok()

    assert service.ask("/metrics").status == 404


def test_nobody_pays_for_metrics_before_a_scrape() -> None:
    """The library is imported by the first scrape, not by the application nor by what makes its routes."""
    look = "import sys, main, database, docs, api, migrate; print([m for m in sys.modules if 'prometheus' in m])"

    done = subprocess.run(
        [sys.executable, "-c", look], cwd=FASTAPI, env={}, capture_output=True, text=True, timeout=60, check=True
    )

    assert done.stdout.strip() == "[]"


def test_the_metrics_of_a_module(start: Start) -> None:
    """What a module yields at a scrape stands beside the service's own."""
    service = start(program="own_metrics")
    service.wait_until_ok()

    assert metrics(service)['cups_of_coffee_total{kind="black"}'] == 7


def test_the_labels_of_requests(start: Start) -> None:
    """The route is the template, with the prefixes of routers in routers; what a client invents is no label."""
    service = start(program="nested_routers")
    service.wait_until_ok()

    for method, path in (
        ("GET", "/outer/7/inner/8"), ("GET", "/outer/9/inner/10"), ("DELETE", "/outer/7/inner/8"),
        ("PROPFIND", "/outer/7/inner/8"), ("GET", "/plain/1"), ("GET", "/mounted/2"), ("GET", "/docs"),
        ("PROPFIND", "/x"),
    ):  # fmt: skip
        service.ask(path, method)
    found = {
        name.removeprefix("http_requests_total"): count
        for name, count in metrics(service).items()
        if name.startswith("http_requests_total")
    }

    assert found == {
        '{method="GET",route="/outer/{a}/inner/{b}",status="200"}': 2,
        '{method="other",route="/outer/{a}/inner/{b}",status="405"}': 2,
        '{method="GET",route="/plain/{c}",status="200"}': 1,
        '{method="GET",route="/mounted/{path}",status="200"}': 1,
        '{method="GET",route="/docs",status="200"}': 1,
        '{method="other",route="unmatched",status="404"}': 1,
    }


def test_a_scanner_makes_no_series(start: Start) -> None:
    """Random paths, with every method that the HTTP parser lets through, all count as one."""
    service = start()
    service.wait_until_ok()
    before = metrics(service)

    for path, method in invented(300):
        service.ask(path, method)
    after = metrics(service)

    assert after.keys() == before.keys()
    assert after['http_requests_total{method="other",route="unmatched",status="404"}'] == 300


def test_a_hundred_thousand_invented_requests() -> None:
    """The same without the network: as many as a scanner makes in a night."""
    counted = RequestMetrics()
    before = {*counted.total}, {*counted.durations}
    app = FastAPI()
    app.include_router(sample)
    logged = RequestLog(app.router, write_lines=False, metrics=counted)

    async def send(_: Message) -> None:
        pass

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def ask_all() -> None:
        for path, method in invented(100_000, made_up_methods=True):
            scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
            await logged(scope, receive, send)

    asyncio.run(ask_all())

    assert ({*counted.total}, {*counted.durations}) == before
    assert counted.total["other", "unmatched", 404] == 100_000


def invented(number: int, made_up_methods: bool = False) -> list[tuple[str, str]]:
    """Paths and methods that nobody has."""
    chance = random.Random(13)

    def word(letters: str) -> str:
        return "".join(chance.choices(letters, k=8))

    def method() -> str:
        return (
            word(string.ascii_uppercase) if made_up_methods else chance.choice(["GET", "POST", "OPTIONS", "PROPFIND"])
        )

    return [(f"/{word(string.ascii_letters)}/{word(string.digits)}", method()) for _ in range(number)]


@pytest.mark.usefixtures("server")
def test_the_metrics_of_the_pool(start: Start) -> None:
    """They show who has a connection, who waits for one, how long, and who has waited in vain."""
    service = start(program="sleeping_statement 2", DB_POOL_SIZE=1, DB_MAX_OVERFLOW=0, DB_POOL_TIMEOUT=0.5)
    service.wait_until_ok()

    with ThreadPoolExecutor() as clients:
        waiting = [clients.submit(service.ask, "/sleep") for _ in range(2)]
        busy = wait_for(service, lambda found: found["db_pool_connections_pending"] == 1)
        codes = sorted(each.result().status for each in waiting)
    after = metrics(service)

    assert (busy['db_pool_connections{state="used"}'], busy["db_pool_connections_max"]) == (1, 1)
    assert busy["http_requests_in_progress"] == 2
    assert codes == [200, 503]
    assert (after["db_pool_connections_pending"], after["db_pool_timeouts_total"]) == (0, 1)
    assert after['http_unavailable_total{reason="pool_exhausted"}'] == 1
    assert after["db_pool_acquire_seconds_count"] == 2
    assert after["db_pool_acquire_seconds_sum"] >= 0.4


def test_lines_that_were_not_written_are_counted(start: Start) -> None:
    """The log that goes to standard error has a count of the lines it had to drop."""
    service = start()
    service.wait_until_ok()

    assert metrics(service)['log_lines_dropped_total{target="stderr"}'] == 0
