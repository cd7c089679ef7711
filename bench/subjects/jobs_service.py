"""This service with JOBS=on, and a job that leaves a trace."""

import os

from jobs_common import trace as leave_trace

import main
from job_functions import Run, job


@job()
def trace(run: Run) -> None:
    leave_trace(run.job)


if __name__ == "__main__":
    os.environ["JOBS"] = "on"
    main.run(main.create_app())
