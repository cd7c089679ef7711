"""Many replicas, many jobs, one table: is each moment run once, how late, and what does idling cost?

python bench/job_replicas.py [REPLICAS] [JOBS] [SECONDS]     defaults: 10 replicas, 100 jobs a second, 60 s

The replicas are processes of the service with a job that does nothing, next to a server of its own. Writes
JOB_REPLICAS.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from pathlib import Path
from statistics import quantiles

import psutil

from measure import ROOT  # isort: skip  it makes the next two importable
from database_server import DatabaseServer
from ports import free_port

PROGRAM = """
import sys
sys.path.insert(0, {fastapi!r})
import main
from job_functions import Run, job

@job()
def nothing(run: Run) -> None: ...

main.run(main.create_app())
"""
IDLE = 20  # seconds
WARM_UP = 8


def start_replica(server: DatabaseServer) -> subprocess.Popen[bytes]:
    environment = {
        "PATH": os.environ["PATH"], "MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": "app",
        "MYSQL_USER": "app", "MYSQL_PASSWORD": server.password, "JOBS": "on", "PORT": str(free_port()),
        "LOG_LEVEL": "WARNING",
    }  # fmt: skip
    program = PROGRAM.format(fastapi=str(ROOT / "fastapi"))
    return subprocess.Popen([sys.executable, "-c", program], env=environment)


def wait_for_rows(server: DatabaseServer, query: str, number: int) -> None:
    while True:
        found = server.sql("SHOW TABLES FROM app LIKE 'job_runs'")
        if found and server.sql(query)[0][0] >= number:
            return
        time.sleep(0.2)


def cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def logged_in(server: DatabaseServer) -> int:
    return len(server.connections())


def idle_statements(server: DatabaseServer, replicas: int) -> float:
    """Statements of the schedulers a second and replica. The watcher's `SELECT 1` is not theirs."""
    server.sql("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = 1")
    time.sleep(IDLE)
    server.sql("SET GLOBAL general_log = 0")
    log = "SELECT COUNT(*) FROM mysql.general_log WHERE user_host LIKE 'app%' AND argument <> 'SELECT 1'"
    return int(server.sql(log)[0][0]) / IDLE / replicas


def measure(server: DatabaseServer, processes: list[int], jobs: int, seconds: int) -> list[str]:
    """Lines of the result."""
    before = [cpu(pid) for pid in processes]
    values = ", ".join(f"('job-{number}', 'nothing', '@every 1s')" for number in range(jobs))
    server.sql(f"INSERT INTO app.scheduled_jobs (name, func, cron) VALUES {values}")
    time.sleep(WARM_UP + seconds)
    server.sql("UPDATE app.scheduled_jobs SET enabled = 0")
    spent = [cpu(pid) - earlier for pid, earlier in zip(processes, before, strict=True)]
    time.sleep(3)
    late_by = "TIMESTAMPDIFF(MICROSECOND, scheduled_for, started_at)"
    runs = server.sql(f"SELECT job_id, scheduled_for, {late_by}, state, owner FROM app.job_runs")
    firsts: dict[int, datetime] = {}
    for job, moment, *_ in runs:
        firsts[job] = min(moment, firsts.get(job, moment))
    begin = max(firsts.values())
    counted = [row for row in runs if begin < row[1] <= begin + timedelta(seconds=seconds)]
    moments = defaultdict(list)
    for job, moment, *_ in counted:
        moments[job].append(moment)
    double = sum(len(found) - len(set(found)) for found in moments.values())
    absent = jobs * seconds - sum(len(set(found)) for found in moments.values())
    states = Counter(state for *_, state, _ in counted)
    late = sorted(row[2] / 1000 for row in counted if row[2] is not None)
    hundredths = quantiles(late, n=100)
    owners = len({row[4] for row in counted if row[4]})
    return [
        f"{jobs} jobs a second for {seconds} s: {len(counted)} moments, {dict(states)}, {owners} replicas took part",
        f"double {double}, absent {absent}",
        f"CPU time a run: {1000 * sum(spent[1:]) / len(runs):.1f} ms in the replicas, "
        f"{1000 * spent[0] / len(runs):.1f} ms in MariaDB",
        f"late by p50 {hundredths[49]:.0f} ms, p99 {hundredths[98]:.0f} ms, at most {late[-1]:.0f} ms",
    ]


def main() -> None:
    replicas, jobs, seconds = (int(word) for word in [*sys.argv[1:], *["10", "100", "60"][len(sys.argv) - 1 :]])
    server = DatabaseServer(Path(tempfile.mkdtemp(prefix="bench-")))
    server.start()
    server.restore()
    server.sql("SET GLOBAL max_connections = 500")
    processes = [start_replica(server) for _ in range(replicas)]
    try:
        wait_for_rows(server, "SELECT COUNT(*) FROM app.scheduled_jobs WHERE status = 'scheduled'", 2)
        while logged_in(server) < 2 * replicas:
            time.sleep(0.2)
        server.sql("UPDATE app.scheduled_jobs SET enabled = 0")
        time.sleep(3)
        lines = [f"idle: {idle_statements(server, replicas):.2f} statements a second and replica"]
        before = server.status("Innodb_deadlocks")
        lines += measure(server, [server.pid, *(process.pid for process in processes)], jobs, seconds)
        lines.append(f"deadlocks: {server.status('Innodb_deadlocks') - before}")
        head = f"# {replicas} replicas, {jobs} jobs a second\n\nMade by `python bench/job_replicas.py`.\n\n"
        text = head + "".join(f"- {line}\n" for line in lines)
        Path(__file__).with_name("JOB_REPLICAS.md").write_text(text)
        print(text)
    finally:
        for process in processes:
            process.kill()
        server.kill()


if __name__ == "__main__":
    main()
