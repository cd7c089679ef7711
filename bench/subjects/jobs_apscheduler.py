"""APScheduler 3 with a job store in the database, started in each replica, as services with replicas often have it.

Fair: its own defaults; ten threads, the job store that it recommends for SQLAlchemy, and every job added under its id
with `replace_existing`, as its guide says. Its FAQ says that a job store cannot be shared; this shows what happens.
"""

from datetime import UTC, datetime

from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.blocking import BlockingScheduler
from apscheduler.triggers.interval import IntervalTrigger
from common import engine
from jobs_common import INTERVAL, NAMES, trace

if __name__ == "__main__":
    scheduler = BlockingScheduler(jobstores={"default": SQLAlchemyJobStore(engine=engine)}, timezone=UTC)
    every = IntervalTrigger(seconds=INTERVAL, start_date=datetime(2026, 1, 1, tzinfo=UTC))
    for name in NAMES:
        scheduler.add_job(trace, every, args=[name], id=name, replace_existing=True)
    scheduler.start()
