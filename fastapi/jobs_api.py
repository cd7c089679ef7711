"""Jobs for administrators: what is scheduled, what has run, and changes. These paths exist where JOBS=on."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm import Session

from accounts import current_admin
from database import get_db
from faults import Fault, Unavailable
from job_functions import find_function
from models import NOW, JobRun, ScheduledJob
from mysql_faults import explain, pool_exhausted
from schedule import parse
from scheduler import Refused
from service import Service

LAST_RUNS = 5  # that the list of jobs shows of each

router = APIRouter(
    prefix="/api/jobs",
    tags=["jobs"],
    dependencies=[Depends(current_admin)],
    responses={401: {"description": "Not logged in."}, 403: {"description": "For administrators only."}},
)
Db = Annotated[Session, Depends(get_db)]
Utc = Annotated[datetime, AfterValidator(lambda moment: moment.replace(tzinfo=UTC))]  # the columns hold naive UTC


class RunAnswer(BaseModel):
    """A run, or a moment that was missed."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    scheduled_for: Utc
    state: str
    owner: str | None
    started_at: Utc | None
    finished_at: Utc | None
    error: str | None


class JobAnswer(BaseModel):
    """A row of `scheduled_jobs`, with the last runs."""

    model_config = ConfigDict(from_attributes=True, extra="forbid")

    name: str
    func: str
    cron: str
    timezone: str
    args: Any
    kwargs: Any
    enabled: bool
    status: str
    reason: str | None
    running_for: Utc | None
    last_run_at: Utc | None
    next_run_at: Utc | None
    updated_at: Utc
    runs: list[RunAnswer] = []


class JobChange(BaseModel):
    """What may be changed. What is left out stays as it is."""

    model_config = ConfigDict(extra="forbid")

    enabled: bool | None = None
    cron: str | None = None
    timezone: str | None = None
    kwargs: dict[str, Any] | None = None


class RunBegun(BaseModel):
    """The run that was begun: its id is in every line that it logs."""

    run: int


@router.get("")
def read_jobs(db: Db) -> list[JobAnswer]:
    """All jobs, each with its last runs."""
    rank = func.row_number().over(partition_by=JobRun.job_id, order_by=JobRun.id.desc()).label("rank_of_run")
    ranked = select(JobRun.id, rank).subquery()
    last = select(JobRun).join(ranked, ranked.c.id == JobRun.id).where(ranked.c.rank_of_run <= LAST_RUNS)
    runs: dict[int, list[RunAnswer]] = {}
    for run in db.scalars(last.order_by(JobRun.id.desc())):
        runs.setdefault(run.job_id, []).append(RunAnswer.model_validate(run))
    jobs = db.scalars(select(ScheduledJob).order_by(ScheduledJob.name))
    return [JobAnswer.model_validate(job).model_copy(update={"runs": runs.get(job.id, [])}) for job in jobs]


@router.get("/{name}/runs", responses={404: {"description": "No job has this name."}})
def read_runs(
    name: str, db: Db, limit: Annotated[int, Query(ge=1, le=1000)] = 50, before: int | None = None
) -> list[RunAnswer]:
    """The runs of a job, the youngest first; `before` an id for the next page."""
    runs = select(JobRun).where(JobRun.job_id == _find(db, name).id).order_by(JobRun.id.desc()).limit(limit)
    if before is not None:
        runs = runs.where(JobRun.id < before)
    return [RunAnswer.model_validate(run) for run in db.scalars(runs)]


@router.patch("/{name}", responses={404: {"description": "No job has this name."}})
def change_job(name: str, change: JobChange, db: Db) -> JobAnswer:
    """Switches a job on or off, or changes when it runs or with what. 422 names the place of a mistake."""
    job = _find(db, name, for_update=True)
    for field, value in change.model_dump(exclude_none=True).items():
        setattr(job, field, value)
    try:
        after = parse(job.cron, job.timezone)
        find_function(job.func, job.args, job.kwargs)
    except (LookupError, ValueError) as error:
        raise _mistake(error) from None
    if change.model_fields_set - {"kwargs"} or job.status != "scheduled":
        now: datetime = db.scalars(select(NOW)).one()
        job.next_run_at = after(now) if job.enabled else None
        job.planned_by = f"{job.cron} {job.timezone}" if job.enabled else None
        job.status, job.reason = "scheduled" if job.enabled else "new", None
    job.version += 1
    job.updated_at = db.scalars(select(NOW)).one()
    db.commit()
    return JobAnswer.model_validate(job)


@router.post(
    "/{name}/run",
    status_code=202,
    responses={
        404: {"description": "No job has this name."},
        409: {"description": "A run is under way, no thread is free, or the row is invalid."},
    },
)
def run_job(name: str, request: Request) -> RunBegun:
    """Runs a job once, now, whatever its schedule, and also where it is switched off."""
    service: Service = request.app.service
    if service.scheduler is None:
        raise Unavailable(Fault("starting", "The jobs have not been started yet: /health says more."))
    try:
        return RunBegun(run=service.scheduler.run_now(name))
    except KeyError:
        raise HTTPException(404, "No job has this name") from None
    except Refused as why:
        raise HTTPException(409, str(why)) from None
    except DBAPIError as error:
        raise Unavailable(explain(error.orig or error, service.settings)) from None
    except PoolTimeoutError:
        raise Unavailable(pool_exhausted()) from None


def _find(db: Session, name: str, for_update: bool = False) -> ScheduledJob:
    statement = select(ScheduledJob).where(ScheduledJob.name == name)
    job = db.scalar(statement.with_for_update() if for_update else statement)
    if job is None:
        raise HTTPException(404, "No job has this name")
    return job


def _mistake(error: Exception) -> RequestValidationError:
    """422 in FastAPI's form. The text begins with the names of the fields."""
    words = str(error.args[0])
    field = words.split(":", 1)[0].split(", ")[-1]
    return RequestValidationError([{"type": "value_error", "loc": ("body", field), "msg": words, "input": None}])
