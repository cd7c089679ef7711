"""The tables of the service. A change here needs a revision: python migrate.py revision NAME."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, DateTime, ForeignKey, String, UniqueConstraint, func, text
from sqlalchemy.dialects.mysql import DATETIME
from sqlalchemy.orm import Mapped, mapped_column

from database import Base

__all__ = ["Account", "Base", "JobRun", "ScheduledJob"]

NAME = String(64, collation="utf8mb4_bin")  # compared byte for byte
CRON = String(255, collation="utf8mb4_bin")
TIME = DATETIME(fsp=6)  # UTC, by the clock of the database
NOW = func.utc_timestamp(6)


class Account(Base):
    """Somebody who can log in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    # Compared byte for byte. That Admin and admin are one name is decided in one place, accounts.canonical_name.
    name: Mapped[str] = mapped_column(String(64, collation="utf8mb4_bin"), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    session_version: Mapped[int] = mapped_column(default=1)  # a new password raises it, which ends all tokens
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.utc_timestamp())


class ScheduledJob(Base):
    """A job: the source of truth. A plain INSERT of `name, func, cron` is enough; the scheduler fills in the rest."""

    __tablename__ = "scheduled_jobs"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(NAME, unique=True)
    func: Mapped[str] = mapped_column(NAME)  # of jobs.py
    cron: Mapped[str] = mapped_column(CRON)
    timezone: Mapped[str] = mapped_column(NAME, server_default="UTC")
    args: Mapped[list[Any]] = mapped_column(JSON, server_default=text("('[]')"))
    kwargs: Mapped[dict[str, Any]] = mapped_column(JSON, server_default=text("('{}')"))
    enabled: Mapped[bool] = mapped_column(server_default=text("1"))
    status: Mapped[str] = mapped_column(String(16), server_default="new")  # new, scheduled, invalid
    reason: Mapped[str | None] = mapped_column(String(255))  # why it is invalid
    last_run_at: Mapped[datetime | None] = mapped_column(TIME)
    next_run_at: Mapped[datetime | None] = mapped_column(TIME)
    planned_by: Mapped[str | None] = mapped_column(CRON)  # the cron and timezone that next_run_at was made from
    running_for: Mapped[datetime | None] = mapped_column(TIME)  # the scheduled_for of the run that is under way
    lease_until: Mapped[datetime | None] = mapped_column(TIME)  # without a sign of life until then that run is lost
    version: Mapped[int] = mapped_column(server_default=text("0"))  # rises with each claim: a slower replica fails
    created_at: Mapped[datetime] = mapped_column(TIME, server_default=NOW)
    updated_at: Mapped[datetime] = mapped_column(TIME, server_default=NOW)


class JobRun(Base):
    """A run: running, succeeded, failed, lost, interrupted. Or missed: a moment at which nobody could run the job."""

    __tablename__ = "job_runs"
    __table_args__ = (UniqueConstraint("job_id", "scheduled_for", name="one_run_a_moment"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey(ScheduledJob.id, name="job_runs_job_id"))
    scheduled_for: Mapped[datetime] = mapped_column(TIME)
    state: Mapped[str] = mapped_column(String(16))
    owner: Mapped[str | None] = mapped_column(String(128))  # the replica
    started_at: Mapped[datetime | None] = mapped_column(TIME)
    finished_at: Mapped[datetime | None] = mapped_column(TIME)
    error: Mapped[str | None] = mapped_column(String(255))
