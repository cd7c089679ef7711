"""What the schedulers share: the jobs, how often they are due, and the trace that each run leaves."""

from sqlalchemy import text

NAMES = [f"job-{number}" for number in range(10)]
INTERVAL = 2  # seconds


def trace(name: str) -> None:
    """A row of the table `traces`, with the time of the database."""
    from common import engine  # needs the environment of a subject, which the benchmark itself has not

    with engine.begin() as db:
        db.execute(text("INSERT INTO traces (job) VALUES (:name)"), {"name": name})
