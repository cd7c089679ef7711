"""What /metrics says of the jobs that this replica has run."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported by the first scrape, and not before
    from prometheus_client import Metric

OUTCOMES = ("succeeded", "failed", "lost", "interrupted", "missed")


class JobMetrics:
    """Counted in plain numbers. `collect` is one of `service.collectors`."""

    def __init__(self) -> None:
        self._runs: Counter[tuple[str, str]] = Counter()
        self._succeeded_at: dict[str, float] = {}
        self._lock = Lock()

    def expect(self, jobs: Iterable[str]) -> None:
        """There from the beginning with 0, so that an alert sees the first failure."""
        with self._lock:
            for each in product(jobs, OUTCOMES):
                self._runs[each] += 0

    def record(self, job: str, outcome: str) -> None:
        """A run has ended, or a moment was missed."""
        with self._lock:
            self._runs[job, outcome] += 1
            if outcome == "succeeded":
                self._succeeded_at[job] = time.time()

    def collect(self) -> "Iterator[Metric]":
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            counts, successes = dict(self._runs), dict(self._succeeded_at)
        runs = CounterMetricFamily("scheduled_job_runs", "Runs of jobs, by their outcome.", labels=["job", "outcome"])
        for labels, count in counts.items():
            runs.add_metric(labels, count)
        last = GaugeMetricFamily(
            "scheduled_job_last_success_timestamp_seconds", "When a job last succeeded here.", labels=["job"]
        )
        for job, at in successes.items():
            last.add_metric([job], at)
        yield from (runs, last)
