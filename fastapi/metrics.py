"""/metrics: what is in memory, as Prometheus text. Nothing here touches a dependency.

A module with metrics of its own appends a function to `service.collectors`, which yields them at each scrape.
"""

import logging
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4 as CONTENT_TYPE
from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily as Counters
from prometheus_client.core import GaugeMetricFamily as Gauges
from prometheus_client.core import HistogramMetricFamily as Histograms
from prometheus_client.core import InfoMetricFamily as Infos
from prometheus_client.registry import Collector

from health import STATUSES
from request_metrics import RequestMetrics
from service import Service

if TYPE_CHECKING:  # a scrape in the first second must not wait for SQLAlchemy
    from sqlalchemy.pool import QueuePool

    from database import Database

__all__ = ["CONTENT_TYPE", "text"]


def text(service: Service) -> bytes:
    """The whole answer."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Everything(service))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Everything(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterable[Metric]:
        service = self._service
        yield from _start(service)
        yield from _health(service)
        yield from _requests(service.request_metrics)
        if hasattr(service, "database"):
            yield from _pool(service.database)
        if service.schema_revision:
            yield Infos("schema_revision", "The revision of the database.", {"revision": service.schema_revision})
        yield from _log()
        for collect in service.collectors:
            yield from collect()


def _start(service: Service) -> Iterator[Metric]:
    boot = service.boot
    last_before_port = next(run for run in boot.runs if run.stage == service.app.before_port[-1])
    yield Gauges(
        "application_started_time_seconds",
        "How long the start took until the port answered.",
        boot.seconds_until(last_before_port),
    )
    ready = Gauges("application_ready_time_seconds", "How long the start took until all stages were done.")
    if boot.done:
        ready.add_metric([], boot.seconds_until(boot.runs[-1]))
    yield ready
    stages = Gauges(
        "boot_stage_duration_seconds", "How long a stage of the start took, or runs by now.", labels=["stage"]
    )
    for run in boot.runs:
        if run.started:
            stages.add_metric([run.stage.name], run.seconds)
    yield stages


def _health(service: Service) -> Iterator[Metric]:
    components = service.health.components
    snapshots = [component.snapshot for component in components]
    now = service.health.status(snapshots)
    status = Gauges("application_status", "1 for the status that /health shows now.", labels=["status"])
    for name in STATUSES:
        status.add_metric([name], name == now)
    up = Gauges("healthcheck_status", "1 while the component is up.", labels=["component"])
    duration = Gauges(
        "healthcheck_duration_seconds", "How long the last check that succeeded took.", labels=["component"]
    )
    for component, snapshot in zip(components, snapshots, strict=False):
        up.add_metric([component.name], snapshot.status == "up")
        if snapshot.latency_ms is not None:
            duration.add_metric([component.name], snapshot.latency_ms / 1000)
    yield from (status, up, duration)


def _requests(requests: RequestMetrics) -> Iterator[Metric]:
    total = Counters(
        "http_requests", "Requests that were answered, probes left out.", labels=["method", "route", "status"]
    )
    for (method, route, status), count in requests.total.items():
        total.add_metric([method, route, str(status)], count)
    duration = Histograms("http_request_duration_seconds", "How long requests took.", labels=["method", "route"])
    for labels, histogram in requests.durations.items():
        duration.add_metric(list(labels), histogram.cumulative(), histogram.sum)
    unavailable = Counters("http_unavailable", "Requests that were answered with 503.", labels=["reason"])
    for reason, count in requests.unavailable.items():
        unavailable.add_metric([reason], count)
    yield from (total, duration, unavailable)
    yield Gauges("http_requests_in_progress", "Requests that are being answered.", requests.in_progress)


def _pool(database: "Database") -> Iterator[Metric]:
    pool = cast("QueuePool", database.engine.pool)
    connections = Gauges("db_pool_connections", "Connections to the database, by what they do.", labels=["state"])
    connections.add_metric(["used"], pool.checkedout())
    connections.add_metric(["idle"], pool.checkedin())
    yield connections
    settings = database.settings
    most = settings.db_pool_size + settings.db_max_overflow
    yield Gauges("db_pool_connections_max", "DB_POOL_SIZE + DB_MAX_OVERFLOW.", most)
    yield Gauges("db_pool_connections_pending", "Requests that wait for a connection.", database.waiting)
    waits = database.waits
    yield Histograms(
        "db_pool_acquire_seconds", "How long requests waited for a connection.", waits.cumulative(), waits.sum
    )
    yield Counters("db_pool_timeouts", "Requests that got no connection within DB_POOL_TIMEOUT.", database.timeouts)


def _log() -> Iterator[Metric]:
    dropped = Counters("log_lines_dropped", "Lines that could not be written.", labels=["target"])
    for handler in logging.getLogger().handlers:
        if handler.name:
            dropped.add_metric([handler.name], getattr(handler, "dropped", 0))
    yield dropped
