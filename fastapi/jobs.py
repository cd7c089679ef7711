"""Your jobs: plain functions. A row of the table `scheduled_jobs` says when one runs, and with which arguments.

`cron` in `@job` is for the row that the first start makes; from then on the row alone counts.
"""

import logging

from sqlalchemy import delete, select, text

from job_functions import Run, job
from models import JobRun

log = logging.getLogger(__name__)


@job(cron="@every 1m")
def heartbeat(run: Run, message: str = "alive") -> None:
    """Shows in the log, and among the runs, that jobs run."""
    log.info("heartbeat: %s", message)


@job(cron="30 3 * * *", catch_up=True, rerun=True)
def purge_job_runs(run: Run, days: int = 30, batch: int = 1000) -> None:
    """Deletes runs that ended more than `days` days ago, in small transactions that make nobody wait for long."""
    is_old = text("finished_at < UTC_TIMESTAMP(6) - INTERVAL :days DAY").bindparams(days=days)
    purged, ids = 0, [0]
    while ids and not run.stopping.is_set():
        with run.session.begin() as db:
            ids = list(db.scalars(select(JobRun.id).where(is_old).order_by(JobRun.id).limit(batch)))
            db.execute(delete(JobRun).where(JobRun.id.in_(ids)))
        purged += len(ids)
    log.info("purged %d runs older than %d days", purged, days)
