"""Schedulers side by side: replicas that share the same jobs. Is each moment run once?

`python bench/schedulers.py` takes about two minutes and writes SCHEDULERS.md. In the middle one replica is killed and
started again.
"""

import sys
import time
from collections import Counter
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import measure
from measure import ROOT, Lab, Service
from redis_server import RedisServer
from report import table

sys.path.append(str(ROOT / "bench" / "subjects"))
from jobs_common import INTERVAL, NAMES

REPLICAS = 3
WARM_UP = 6  # seconds
SECONDS = 30
SUBJECTS = {
    "jobs_service": "**this service**, table in MariaDB",
    "jobs_apscheduler": "APScheduler 3, job store in MariaDB",
    "jobs_saq": "SAQ, queue in Redis",
}
TRACES = "CREATE TABLE app.traces (job VARCHAR(64), at DATETIME(6) DEFAULT UTC_TIMESTAMP(6))"
ADD = "INSERT INTO app.scheduled_jobs (name, func, cron) VALUES (%s, 'trace', %s)"


class Seen(NamedTuple):
    """What the traces of one subject say of the moments that were measured."""

    moments: int
    double: int
    absent: int
    late_ms: float
    mistakes: int


def run(lab: Lab, subject: str, redis: RedisServer) -> Seen:
    """Replicas of one subject; half-way one of them is killed and started again."""
    lab.server.restore()
    url = f"redis://:{quote(redis.password, safe='')}@127.0.0.1:{redis.port}/0"
    settings = {"QUEUE_URL": url, "PYTHONPATH": f"{lab.folder}/service/fastapi:{lab.folder}/subjects"}
    if subject != "jobs_service":
        lab.server.sql(TRACES)
    replicas = [lab.start(subject, settings=settings) for _ in range(REPLICAS)]
    if subject == "jobs_service":
        measure.until(lambda: measure.ok(replicas[0]))
        lab.server.sql(TRACES)  # only now: migrations refuse a database that somebody else has made
        for name in NAMES:
            lab.server.sql((ADD, [name, f"@every {INTERVAL}s"]))
    measure.until(lambda: lab.server.sql("SELECT COUNT(DISTINCT job) FROM app.traces")[0][0] == len(NAMES))
    time.sleep(WARM_UP)
    begin = _now(lab)
    time.sleep(SECONDS / 2)
    measure.end(replicas.pop())
    replicas.append(lab.start(subject, settings=settings))
    time.sleep(SECONDS / 2)
    end = _now(lab)
    for replica in replicas:
        measure.end(replica)
    return _seen(lab, begin, end, sum(_mistakes(replica) for replica in replicas))


def _now(lab: Lab) -> datetime:
    now: datetime = lab.server.sql("SELECT UTC_TIMESTAMP(6)")[0][0]
    return now


def _seen(lab: Lab, begin: datetime, end: datetime, mistakes: int) -> Seen:
    first, last = (int((moment - datetime(1970, 1, 1)).total_seconds()) // INTERVAL for moment in (begin, end))
    expected = {(job, slot) for job in NAMES for slot in range(first + 1, last)}
    runs: Counter[tuple[str, int]] = Counter()
    late = []
    for job, at in lab.server.sql("SELECT job, at FROM app.traces"):
        slot, rest = divmod((at - datetime(1970, 1, 1)).total_seconds(), INTERVAL)
        runs[job, int(slot)] += 1
        if (job, int(slot)) in expected:
            late.append(rest * 1000)
    double = sum(runs[each] - 1 for each in expected if runs[each] > 1)
    absent = sum(runs[each] == 0 for each in expected)
    return Seen(len(expected), double, absent, sorted(late)[len(late) // 2], mistakes)


def _mistakes(replica: Service) -> int:
    return replica.log.count("Traceback")


def main() -> None:
    with Lab() as lab:
        redis = RedisServer(lab.folder)
        redis.start()
        try:
            seen = {subject: run(lab, subject, redis) for subject in SUBJECTS}
        finally:
            redis.kill()
        database = lab.server.sql("SELECT VERSION()")[0][0]
    rows = [
        [SUBJECTS[subject], *map(str, each[:3]), f"{each.late_ms:.0f}", str(each.mistakes)]
        for subject, each in seen.items()
    ]
    text = (
        "# Schedulers\n\n"
        f"Made by `python bench/schedulers.py`: {REPLICAS} replicas of each, which share {len(NAMES)} jobs, each due "
        f"every {INTERVAL} s; after {SECONDS // 2} of {SECONDS} s one replica is killed and started again. "
        f"{database}.\n\n"
        "A moment counts as double where a job ran twice before its next one, as absent where it did not run. "
        "APScheduler's own FAQ says that a job store cannot be shared; it is here because it often is.\n\n"
        + table(["", "moments", "double", "absent", "late by, ms (median)", "tracebacks in the logs"], rows)
    )
    Path(__file__).with_name("SCHEDULERS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
