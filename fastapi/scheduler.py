"""What runs the jobs: a thread that looks once a second for what is due and claims it, and threads that run it.

Any number of replicas may do so at the same time. What runs has a lease that its replica renews; a run whose lease has
ended is lost.
"""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from random import random, uniform
from threading import BoundedSemaphore, Lock, Thread
from typing import Any

from pymysql.constants import ER
from sqlalchemy import Row
from sqlalchemy.exc import DBAPIError, OperationalError, SQLAlchemyError

import jobs  # noqa: F401  registers them
from boot import Boot, class_and_place
from faults import Fault
from health import Component
from job_functions import FUNCTIONS, Function, Run, find_function
from job_metrics import JobMetrics
from job_overview import SHOWN, JobOverview
from job_table import JobTable, LostRace, is_locked
from logs import request_id
from mysql_faults import explain
from schedule import LATE, Schedule, choose, parse
from service import Service
from settings import Settings

TICK = 1.0  # seconds between two looks at the table
SHORT_PAUSE = 0.05
SIGN_OF_LIFE = 3.0  # seconds that other replicas have to renew their leases, after an outage in which none could
TICK_TIMEOUT = 5.0  # beyond a login; then /health calls the scheduler stale
STOP_GRACE = 8.0  # seconds that running jobs have after the request to stop; Docker kills after 10
LAST_WORDS = 1.5  # seconds for recording that they were interrupted

log = logging.getLogger(__name__)


class Refused(Exception):
    """A run that cannot begin now. The text says why."""


class Scheduler:
    """The scheduler of one replica."""

    def __init__(self, settings: Settings, component: Component, boot: Boot) -> None:
        self._settings = settings
        self._component = component
        self._boot = boot
        self._stopping = boot.stopping
        self._table = JobTable(settings)
        self.metrics = JobMetrics()
        self.overview = JobOverview()
        self._patience = settings.db_connect_timeout + TICK_TIMEOUT
        self._has_added = False
        self._paused = False
        self._renewed_at = 0.0  # these two on the monotonic clock
        self._may_be_lost_at = 0.0
        self._locked: set[int] = set()  # the ids of jobs whose rows another transaction holds
        self._running: dict[int, tuple[Row[Any], Any]] = {}  # by the run's id: the job, and the moment
        self._lock = Lock()
        self._free_threads = BoundedSemaphore(settings.jobs_threads)
        self._pool = ThreadPoolExecutor(settings.jobs_threads, "job")
        self._thread = Thread(target=self._loop, name="scheduler", daemon=True)

    def start(self) -> None:
        self._component.expect_check_within(self._patience)
        self._may_be_lost_at = time.monotonic() + SIGN_OF_LIFE
        self._thread.start()

    def close(self) -> None:
        """What runs has until `STOP_GRACE` seconds after the request to stop; then it is recorded as interrupted."""
        self._thread.join(max(0.0, STOP_GRACE - self._boot.stopping_for))  # it may be claiming the last one
        while self._running and self._boot.stopping_for < STOP_GRACE:
            time.sleep(0.05)
        if self._running:
            recorder = Thread(target=self._interrupt, daemon=True)  # the database may be frozen
            recorder.start()
            recorder.join(LAST_WORDS)

    def _interrupt(self) -> None:
        for run_id, (row, moment) in list(self._running.items()):
            log.warning("run %d of job %s interrupted: it did not end in %.0f s", run_id, row.name, STOP_GRACE)
            with suppress(SQLAlchemyError):  # then it will be lost when its lease ends
                self._table.end(run_id, row.id, moment, "interrupted", "its replica was stopped")
                self.metrics.record(row.name, "interrupted")

    def run_now(self, name: str) -> int:
        """Begins a run, whatever the schedule, and returns its id. Raises Refused, or KeyError without such a job."""
        row = self._table.find(name)
        if row is None:
            raise KeyError(name)
        try:
            function = find_function(row.func, row.args, row.kwargs)
        except (LookupError, ValueError) as error:
            raise Refused(str(error.args[0])) from None
        if self._stopping.is_set() or not self._free_threads.acquire(blocking=False):
            raise Refused("All threads of this replica are running jobs: try again.")
        run_id = None
        try:
            run_id = self._table.begin_now(row)
        finally:
            if run_id is None:
                self._free_threads.release()
        if run_id is None:
            raise Refused("A run of this job is under way, and two never overlap.")
        self._submit(run_id, row, row.now, function)
        return run_id

    # The thread that looks and claims.

    def _loop(self) -> None:
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                was_busy = self._tick(began)
                if self._paused:
                    log.info("jobs go on")
                self._paused = False
            except Exception as error:  # noqa: BLE001  whatever it is: a scheduler that is dead runs nothing
                was_busy = False
                self._pause(error)
            # After a claim at once, because the next moment of that job may come before the next tick.
            self._stopping.wait(
                uniform(0, SHORT_PAUSE) if was_busy else max(SHORT_PAUSE, began + TICK - time.monotonic())
            )
        self._table.stop_looking()

    def _pause(self, error: Exception) -> None:
        self._table.stop_looking()
        fault = self._explain(error)
        self._component.publish("down", TICK + self._patience, fault)
        # No replica could renew its leases either: each has time for that when the database is back.
        self._may_be_lost_at = time.monotonic() + self._settings.jobs_lease
        if not self._paused:
            mistake = None if isinstance(error, SQLAlchemyError) else error
            log.error("jobs pause: %s. %s", fault.reason, fault.hint, exc_info=mistake)
        self._paused = True

    def _explain(self, error: Exception) -> Fault:
        if isinstance(error, DBAPIError) and error.orig:
            if error.orig.args[:1] == (ER.NO_SUCH_TABLE,):
                return Fault("unknown", "The tables of the jobs are missing: python migrate.py upgrade makes them.")
            return explain(error.orig, self._settings)
        return Fault("unknown", f"The scheduler failed: {class_and_place(error)}. The log says more.")

    def _tick(self, began: float) -> bool:
        """Whether something was due."""
        if not self._has_added:
            self.metrics.expect(self._table.add_missing())
            self._has_added = True
        rows = self._table.look(ahead=TICK)
        looked_at = time.monotonic()
        self._component.publish("up", TICK + self._patience, latency_ms=(looked_at - began) * 1000)
        if looked_at - began > TICK:  # the database has been frozen, for the other replicas, too
            self._may_be_lost_at = looked_at + SIGN_OF_LIFE
        if self.overview.is_due:
            self.overview.publish(self._table.overview(SHOWN))
        self._renew()
        was_busy = False
        with suppress(LostRace):  # then look again, at what the others have left
            for row in sorted(rows, key=lambda row: (row.id in self._locked, row.next_run_at or row.now, random())):
                if not self._stopping.is_set():
                    was_busy |= self._attend_unless_locked(row, looked_at)
            return was_busy
        return True

    def _renew(self) -> None:
        with self._lock:
            running = [(row.id, moment) for row, moment in self._running.values()]
        if running and time.monotonic() - self._renewed_at > self._settings.jobs_lease / 3:
            self._table.renew(running)
            self._renewed_at = time.monotonic()

    def _attend_unless_locked(self, row: Row[Any], looked_at: float) -> bool:
        try:
            was_due = self._attend(row, looked_at)
        except OperationalError as error:
            if not is_locked(error):
                raise
            if row.id not in self._locked:
                log.warning("job %s waits: another transaction holds its row", row.name)
            self._locked.add(row.id)
            return False
        self._locked.discard(row.id)
        return was_due

    def _attend(self, row: Row[Any], looked_at: float) -> bool:
        """Does what one row needs. Whether it was due."""
        if row.lease_until and row.lease_until < row.now:
            if time.monotonic() >= self._may_be_lost_at and self._table.end_lost(row):
                log.warning("job %s: its run for %s UTC is lost: no sign of life", row.name, row.running_for)
                self.metrics.record(row.name, "lost")
            return False
        if not row.enabled:
            self._table.plan(row, next_run_at=None, planned_by=None, status="new", reason=None)
            return False
        try:
            after = parse(row.cron, row.timezone)
            function = find_function(row.func, row.args, row.kwargs)
        except LookupError as error:  # perhaps a replica with newer code has this function
            if row.status == "new" or (row.next_run_at and row.now - row.next_run_at > LATE):
                self._reject(row, str(error.args[0]))
            return False
        except ValueError as error:
            self._reject(row, str(error))
            return False
        definition = f"{row.cron} {row.timezone}"
        if row.status == "scheduled" and row.planned_by == definition and row.next_run_at:
            self._claim(row, looked_at, after, function)
            return True
        self.metrics.expect([row.name])
        self._table.plan(row, next_run_at=after(row.now), planned_by=definition, status="scheduled", reason=None)
        return False

    def _reject(self, row: Row[Any], reason: str) -> None:
        reason = reason[:255]
        is_new = (row.status, row.reason) != ("invalid", reason)
        if is_new and self._table.plan(row, next_run_at=None, planned_by=None, status="invalid", reason=reason):
            log.warning("job %s is invalid: %s", row.name, reason)

    def _claim(self, row: Row[Any], looked_at: float, after: Schedule, function: Function) -> None:
        """Waits for the moment, and for a free thread; runs the job, unless another replica has been faster."""
        due_in = looked_at + (row.next_run_at - row.now).total_seconds() - time.monotonic()
        self._stopping.wait(max(0.0, due_in + 0.002))
        patience = max(0.0, looked_at + TICK - time.monotonic())
        if self._stopping.is_set() or not self._free_threads.acquire(timeout=patience):
            return
        if self._stopping.is_set():  # the thread has become free because its job is stopping
            self._free_threads.release()
            return
        now = row.now + timedelta(seconds=time.monotonic() - looked_at)
        choice, run_id = choose(after, row.next_run_at, now, function.catch_up), None
        try:
            run_id = self._table.claim(row, choice)
            if choice.missed:
                self.metrics.record(row.name, "missed")
        finally:
            if run_id is None:
                self._free_threads.release()
        if run_id is not None:
            self._submit(run_id, row, choice.run, function)

    # The threads that run jobs.

    def _submit(self, run_id: int, row: Row[Any], moment: Any, function: Function) -> None:
        with self._lock:
            if not self._running:
                self._renewed_at = time.monotonic()
            self._running[run_id] = (row, moment)
        self._pool.submit(self._execute, run_id, row, moment, function)

    def _execute(self, run_id: int, row: Row[Any], moment: Any, function: Function) -> None:
        request_id.set(f"run-{run_id}")
        state, mistake = "succeeded", None
        try:
            function.call(Run(run_id, row.name, moment, self._table.session, self._stopping), *row.args, **row.kwargs)
        except (Exception, SystemExit) as error:
            state, mistake = "failed", class_and_place(error)[:255]
            log.exception("job %s failed in run %d", row.name, run_id)
        try:
            self._end(run_id, row, moment, state, mistake)
        finally:
            with self._lock:
                del self._running[run_id]
            self._free_threads.release()

    def _end(self, run_id: int, row: Row[Any], moment: Any, state: str, mistake: str | None) -> None:
        """Records the end, however long the database is away."""
        while True:
            try:
                if self._table.end(run_id, row.id, moment, state, mistake):
                    self.metrics.record(row.name, state)
                else:
                    log.warning("run %d %s, but was recorded as lost before", run_id, state)
                return
            except SQLAlchemyError:  # the log says already that the jobs pause
                if self._stopping.wait(TICK):
                    return


def start_jobs(service: Service) -> str:
    """The stage: starts the scheduler."""
    component = service.health.add(Component("jobs", required=False))
    service.scheduler = Scheduler(service.settings, component, service.boot)
    service.closers.append(service.scheduler.close)
    service.collectors.append(service.scheduler.metrics.collect)
    if service.health.details:
        service.app.probes["/health/jobs"] = service.scheduler.overview.answer
    service.scheduler.start()
    return f"{', '.join(FUNCTIONS)}; {service.settings.jobs_threads} threads"
