"""The statements of the scheduler: each change is one short transaction that only one replica can make.

The clock is that of the database. The version of a row is compared and set, so no replica has to lead.
"""

import logging
import os
import socket
from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    URL,
    Engine,
    Row,
    Update,
    and_,
    bindparam,
    create_engine,
    event,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.engine import Connection as EngineConnection
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import sessionmaker

from connection import Connection
from driver import ER
from job_functions import FUNCTIONS
from models import TIME, JobRun, ScheduledJob
from mysql_faults import error_number
from schedule import Choice
from settings import Settings

NOW = literal_column("UTC_TIMESTAMP(6)", TIME)

# The statements of every run, made once: SQLAlchemy takes longer to make one than MariaDB to run it.
# Compare-and-set: changes the row only where it is still as it was read.
CHANGE = (
    update(ScheduledJob)
    .where(
        ScheduledJob.id == bindparam("read_id"),
        ScheduledJob.version == bindparam("read_version"),
        ScheduledJob.enabled == bindparam("read_enabled"),
    )
    .values(version=ScheduledJob.version + 1)
)
# The run of that moment, and no other one that may have begun since.
RUNNING = update(ScheduledJob).where(
    ScheduledJob.id == bindparam("job"), ScheduledJob.running_for == bindparam("moment")
)
FREE = RUNNING.values(running_for=None, lease_until=None)
INSERT_RUN = insert(JobRun).values(started_at=NOW)
END_RUN = update(JobRun).where(JobRun.id == bindparam("run_id"), JobRun.state == "running").values(finished_at=NOW)

LOCKED = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}

log = logging.getLogger(__name__)


def is_locked(error: BaseException) -> bool:
    """Whether another transaction holds the row."""
    return isinstance(error, OperationalError) and error_number(error.orig) in LOCKED


class LostRace(Exception):
    """Another replica has been faster, so it is at the other rows, too."""


class JobTable:
    """The tables, with engines of their own: the connections of the requests are counted, one for each request."""

    def __init__(self, settings: Settings) -> None:
        # Of the scheduler: a connection that looks, and one for all that changes. What is lent here always commits or
        # rolls back, so a reset would be a needless round trip.
        self._engine = _make_engine(settings, pool_size=2, pool_reset_on_return=None)
        event.listen(self._engine, "connect", _do_not_wait_for_locks)
        # Of the jobs: a connection each. What one leaves open is rolled back when its session goes.
        self.session = sessionmaker(_make_engine(settings, pool_size=settings.jobs_threads), expire_on_commit=False)
        self._owner = f"{socket.gethostname()[:80]}:{os.getpid()}"
        self._lease = _from_now(settings.jobs_lease)
        free = CHANGE.where(ScheduledJob.running_for.is_(None))
        self._begin = free.values(running_for=bindparam("moment"), lease_until=self._lease, last_run_at=NOW)
        self._begin_due = self._begin.where(ScheduledJob.next_run_at <= NOW)
        self._looking: EngineConnection | None = None

    def look(self, ahead: float) -> list[Row[Any]]:
        """In one statement: what is due within `ahead` seconds, and what is new, changed, switched off or lost."""
        job = ScheduledJob
        definition = func.concat(job.cron, " ", job.timezone)
        is_new = or_(job.next_run_at.is_(None), job.status != "scheduled", job.planned_by != definition)
        is_due = and_(job.running_for.is_(None), job.next_run_at <= _from_now(ahead))
        off = and_(~job.enabled, job.next_run_at.is_not(None))
        wanted = or_(and_(job.enabled, or_(is_new, is_due)), off, job.lease_until < NOW)
        if self._looking is None:
            self._looking = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        return list(self._looking.execute(select(job.__table__, NOW.label("now")).where(wanted)))

    def overview(self, number: int) -> list[Row[Any]]:
        """So many jobs, each with its last run: those that run, then those that are due next."""
        job = ScheduledJob
        last = select(JobRun.id).where(JobRun.job_id == job.id).correlate(job)
        last = last.order_by(JobRun.scheduled_for.desc()).limit(1)
        since = func.coalesce(JobRun.finished_at, JobRun.started_at).label("since")
        total = func.count().over().label("total")
        columns = (job.__table__, JobRun.state, since, total)
        rows = select(*columns).select_from(job).outerjoin(JobRun, JobRun.id == last.scalar_subquery())
        rows = rows.order_by(job.running_for.is_(None), job.next_run_at.is_(None), job.next_run_at, job.name)
        with self._engine.begin() as db:
            return list(db.execute(rows.limit(number)))

    def stop_looking(self) -> None:
        """Gives up the connection of `look`, which makes a new one."""
        if self._looking is not None:
            self._looking.invalidate()
            self._looking.close()
        self._looking = None

    def add_missing(self) -> set[str]:
        """Adds the rows of functions that say when they want to run, where there is none. Returns the names of all."""
        with self._engine.begin() as db:
            there = set(db.scalars(select(ScheduledJob.name)))
        for name, function in FUNCTIONS.items():
            if function.cron and name not in there:
                with self._engine.begin() as db:
                    values = {"name": name, "func": name, "cron": function.cron}
                    db.execute(insert(ScheduledJob).prefix_with("IGNORE").values(values))
                there.add(name)
        return there

    def plan(self, row: Row[Any], **values: object) -> bool:
        """False: the row has changed since it was read."""
        with self._engine.begin() as db:
            return bool(db.execute(CHANGE.values(updated_at=NOW, **values), _as_read(row)).rowcount)

    def claim(self, row: Row[Any], choice: Choice) -> int | None:
        """Makes the choice true, and returns the id of the run where there is to be one. Raises LostRace."""
        try:
            with self._engine.begin() as db:
                change = self._begin_due if choice.run else CHANGE
                values = {"next_run_at": choice.next, **({"moment": choice.run} if choice.run else {})}
                if not db.execute(change, _as_read(row) | values).rowcount:
                    raise LostRace
                if choice.missed:
                    _insert_missed(db, row, choice.missed, choice.run or choice.next)
                return self._insert_run(db, row, choice.run) if choice.run else None
        except IntegrityError:  # somebody has set next_run_at back to a moment that has had its run
            self.plan(row, next_run_at=choice.next)
            raise LostRace from None

    def begin_now(self, row: Row[Any]) -> int | None:
        """Begins a run for this very moment and returns its id. None: one is under way."""
        with self._engine.begin() as db:
            values = {"moment": row.now, "next_run_at": row.next_run_at}
            if not db.execute(self._begin, _as_read(row) | values).rowcount:
                return None
            return self._insert_run(db, row, row.now)

    def find(self, name: str) -> Row[Any] | None:
        with self._engine.begin() as db:
            return db.execute(
                select(ScheduledJob.__table__, NOW.label("now")).where(ScheduledJob.name == name)
            ).one_or_none()

    def renew(self, running: Collection[tuple[int, datetime]]) -> None:
        """The leases of these runs, each a job's id and the moment. One whose row somebody else holds is left out."""
        for job, moment in running:
            try:
                with self._engine.begin() as db:
                    db.execute(RUNNING.values(lease_until=self._lease), {"job": job, "moment": moment})
            except OperationalError as error:
                if not is_locked(error):
                    raise

    def end(self, run_id: int, job_id: int, moment: datetime, state: str, error: str | None) -> bool:
        """Records the end of a run. False: it has been recorded otherwise before."""
        with self._engine.begin() as db:
            again = False
            if state == "interrupted":
                again = _reruns(db.scalar(select(ScheduledJob.func).where(ScheduledJob.id == job_id)))
            db.execute(_free(again), {"job": job_id, "moment": moment})
            return bool(db.execute(END_RUN, {"run_id": run_id, "state": state, "error": error}).rowcount)

    def end_lost(self, row: Row[Any]) -> bool:
        """Records the run of that job as lost. False: another replica has done so, or there was a sign of life."""
        with self._engine.begin() as db:
            free = _free(_reruns(row.func)).where(ScheduledJob.lease_until < NOW)
            if not db.execute(free, {"job": row.id, "moment": row.running_for}).rowcount:
                return False
            run = update(JobRun).where(JobRun.job_id == row.id, JobRun.scheduled_for == row.running_for)
            error = "its replica gave no sign of life"
            db.execute(run.where(JobRun.state == "running").values(state="lost", finished_at=NOW, error=error))
        return True

    def _insert_run(self, db: EngineConnection, row: Row[Any], moment: datetime) -> int:
        values = {"job_id": row.id, "scheduled_for": moment, "state": "running", "owner": self._owner}
        return int(db.execute(INSERT_RUN, values).lastrowid)


def _make_engine(settings: Settings, **options: Any) -> Engine:
    return create_engine(
        URL.create("mysql+pymysql", host=settings.mysql_host, database=settings.mysql_database),
        creator=lambda: Connection(settings, settings.db_connect_timeout, settings.db_read_timeout),
        max_overflow=0,
        pool_timeout=settings.db_pool_timeout,
        pool_recycle=int(settings.db_pool_recycle),
        pool_pre_ping=True,
        isolation_level="READ COMMITTED",  # no locks on gaps, so nobody waits for a row that is not theirs
        hide_parameters=True,
        **options,
    )


def _do_not_wait_for_locks(connection: Connection, _: object) -> None:
    """A row that a forgotten transaction holds must not hold up all jobs. One second is the least that MySQL knows."""
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION innodb_lock_wait_timeout = 1")


def _as_read(row: Row[Any]) -> dict[str, Any]:
    return {"read_id": row.id, "read_version": row.version, "read_enabled": row.enabled}


def _free(again: bool) -> Update:
    return FREE.values(next_run_at=NOW) if again else FREE


def _insert_missed(db: EngineConnection, row: Row[Any], moment: datetime, until: datetime) -> None:
    error = f"nobody could run it before {until:%Y-%m-%d %H:%M:%S} UTC, or the run before was still going on"
    values = {"job_id": row.id, "scheduled_for": moment, "state": "missed", "finished_at": NOW, "error": error}
    db.execute(insert(JobRun).prefix_with("IGNORE").values(values))
    log.warning("job %s missed %s UTC: %s", row.name, moment, error)


def _from_now(seconds: float) -> Any:
    return literal_column(f"UTC_TIMESTAMP(6) + INTERVAL {int(seconds * 1e6)} MICROSECOND", TIME)


def _reruns(name: str | None) -> bool:
    return name in FUNCTIONS and FUNCTIONS[name].rerun
