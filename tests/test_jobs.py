"""Scheduled jobs with real replicas: each moment runs once, whatever dies, and the table is the truth."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from database_server import DatabaseServer
from process import Service, Start, stage

FAKETIME = next(Path("/usr").glob("lib*/**/libfaketimeMT.so.1"), "libfaketime is not installed")
TRACES = "CREATE TABLE IF NOT EXISTS app.traces (job VARCHAR(64), moment DATETIME(6), what VARCHAR(8), at DATETIME(6))"


def wait_for(what: Callable[[], Any], service: Service | None = None, seconds: float = 60) -> Any:
    """Asks until the answer is true, and returns it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, f"not in {seconds} s\n{service.story if service else ''}"
        time.sleep(0.05)
    return found


def column(server: DatabaseServer, job: str, name: str) -> Any:
    """What the row of a job says."""
    return server.sql((f"SELECT {name} FROM app.scheduled_jobs WHERE name = %s", [job]))[0][0]


def states(server: DatabaseServer, job: str) -> Counter[str]:
    """How many runs of a job are in which state."""
    runs = "SELECT state FROM app.job_runs JOIN app.scheduled_jobs j ON j.id = job_id WHERE name = %s"
    return Counter(state for (state,) in server.sql((runs, [job])))


def traces(server: DatabaseServer, job: str, what: str) -> list[tuple[datetime, datetime]]:
    """The moments for which a job left this trace, and when it did."""
    found = "SELECT moment, at FROM app.traces WHERE job = %s AND what = %s ORDER BY moment, at"
    return [(moment, at) for moment, at in server.sql((found, [job, what]))]


@pytest.fixture
def replica(start: Start, server: DatabaseServer) -> Callable[..., Service]:
    """Starts a replica with the jobs of the tests, whose leases last two seconds."""

    def replica(**settings: object) -> Service:
        service = start(program="jobs_of_tests", **{"JOBS": "on", "JOBS_LEASE": 2, **settings})
        service.wait_until_ok()
        server.sql(TRACES, "UPDATE app.scheduled_jobs SET enabled = 0 WHERE name IN ('heartbeat', 'purge_job_runs')")
        return service

    return replica


def add(server: DatabaseServer, name: str, func: str, cron: str, kwargs: str = "{}") -> None:
    """A job, by the plain INSERT of somebody with any client."""
    values = [name, func, cron, kwargs]
    server.sql(("INSERT INTO app.scheduled_jobs (name, func, cron, kwargs) VALUES (%s, %s, %s, %s)", values))


def check_each_moment_once(server: DatabaseServer, interval: int) -> int:
    """Asserts that of each job no moment between the first and the last is missing or double. Returns how many."""
    number = 0
    for (job,) in server.sql("SELECT DISTINCT job FROM app.traces"):
        begun = [moment for moment, _ in traces(server, job, "begin")]
        expected = [begun[0] + timedelta(seconds=interval * n) for n in range(len(begun))]
        assert begun == expected, f"{job}: {begun}"
        number += len(begun)
    return number


@pytest.mark.prd("JOB-01")
def test_runs_are_in_the_metrics(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """/metrics counts the runs of this replica by job and outcome, and says when a job last succeeded."""
    service = replica(may_trace=True)
    add(server, "good", "trace", "@every 1s")
    add(server, "bad", "failing", "@every 1s")

    def scrape() -> dict[str, float]:
        lines = [line for line in service.ask("/metrics").text.splitlines() if line.startswith("scheduled_job")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    succeeded = 'scheduled_job_runs_total{job="good",outcome="succeeded"}'
    failed = 'scheduled_job_runs_total{job="bad",outcome="failed"}'
    found = wait_for(lambda: (now := scrape()).get(succeeded) and now.get(failed) and now, service)

    assert found[succeeded] >= 1
    assert found['scheduled_job_runs_total{job="good",outcome="failed"}'] == 0  # so that an alert sees the first one
    assert abs(found['scheduled_job_last_success_timestamp_seconds{job="good"}'] - time.time()) < 60
    assert 'scheduled_job_last_success_timestamp_seconds{job="bad"}' not in found


def test_what_is_off_is_not_imported(start: Start) -> None:
    """JOBS=off: the stage is skipped, no module of the scheduler is imported, and no thread runs."""
    service = start(program="loaded")
    body = service.wait_until_ok()

    loaded = service.ask("/loaded").json

    assert stage(body, "background tasks")["detail"] == "JOBS is off"
    assert "jobs" not in body
    assert not {"scheduler", "schedule", "jobs", "job_table", "job_functions", "cronsim"} & set(loaded["modules"])
    assert "scheduler" not in loaded["threads"]


@pytest.mark.prd("JOB-02")
def test_the_first_start_adds_the_jobs_that_say_when(start: Start, server: DatabaseServer) -> None:
    """Both jobs of jobs.py have a row; a second start leaves what has been changed."""
    service = start(JOBS="on")
    service.wait_until_ok()
    wait_for(lambda: server.sql("SELECT 1 FROM app.scheduled_jobs WHERE status = 'scheduled' HAVING COUNT(*) = 2"))
    server.sql("UPDATE app.scheduled_jobs SET cron = '@every 1s' WHERE name = 'heartbeat'")
    service.wait_for_log("heartbeat: alive")
    service.terminate()

    service = start(JOBS="on")
    service.wait_for_log("heartbeat: alive")

    assert column(server, "heartbeat", "cron") == "@every 1s"
    assert len(server.sql("SELECT id FROM app.scheduled_jobs")) == 2
    assert service.health()["jobs"]["status"] == "up"


@pytest.mark.prd("JOB-02")
def test_a_row_edited_with_any_client_counts_at_once(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """INSERT, another cron, off and on again: each without a restart, and nothing counts as missed."""
    service = replica()

    add(server, "edited", "trace", "@every 1s")
    wait_for(lambda: traces(server, "edited", "end"), service)
    server.sql("UPDATE app.scheduled_jobs SET cron = '0 0 1 1 *', timezone = 'Asia/Seoul' WHERE name = 'edited'")
    next_run = wait_for(lambda: (moment := column(server, "edited", "next_run_at")).month == 12 and moment, service)
    edited = server.sql("SELECT updated_at > UTC_TIMESTAMP(6) - INTERVAL 5 SECOND FROM app.scheduled_jobs")
    server.sql("UPDATE app.scheduled_jobs SET enabled = 0 WHERE name = 'edited'")
    wait_for(lambda: column(server, "edited", "next_run_at") is None, service)
    server.sql("UPDATE app.scheduled_jobs SET enabled = 1, cron = '@every 1s' WHERE name = 'edited'")
    before = len(traces(server, "edited", "end"))
    wait_for(lambda: len(traces(server, "edited", "end")) > before, service)

    assert (next_run.day, next_run.hour) == (31, 15)  # midnight in Seoul
    assert (1,) in edited
    assert set(states(server, "edited")) <= {"succeeded", "running"}


@pytest.mark.prd("JOB-01")
def test_replicas_share_the_work(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """Three replicas, ten jobs a second: each moment once, no deadlock."""
    replicas = [replica() for _ in range(3)]
    for number in range(10):
        add(server, f"job-{number}", "trace", "@every 1s")

    wait_for(lambda: len(traces(server, "job-9", "end")) > 8)
    codes = [service.terminate() for service in replicas]

    number = check_each_moment_once(server, interval=1)
    owners = server.sql("SELECT DISTINCT owner FROM app.job_runs WHERE owner IS NOT NULL")
    assert codes == [0, 0, 0]
    assert number > 80
    assert len(owners) > 1
    assert all("deadlock" not in service.log for service in replicas)
    assert server.sql("SELECT DISTINCT state FROM app.job_runs") == [("succeeded",)]


@pytest.mark.prd("JOB-01")
def test_the_clock_of_a_replica_does_not_matter(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """One replica is ten minutes ahead, one is ten behind (libfaketime): nothing double, nothing missed."""
    wrong = {"LD_PRELOAD": FAKETIME, "FAKETIME_DONT_FAKE_MONOTONIC": 1}
    replicas = [replica(**wrong, FAKETIME="+10m"), replica(**wrong, FAKETIME="-10m"), replica()]
    for number in range(5):
        add(server, f"job-{number}", "trace", "@every 1s")

    wait_for(lambda: len(traces(server, "job-4", "end")) > 6)
    for service in replicas:
        service.terminate()

    check_each_moment_once(server, interval=1)
    late = server.sql("SELECT MAX(TIMESTAMPDIFF(SECOND, moment, at)) FROM app.traces WHERE what = 'begin'")[0][0]
    assert late < 60
    assert server.sql("SELECT DISTINCT state FROM app.job_runs") == [("succeeded",)]


@pytest.mark.prd("JOB-03")
def test_a_killed_run_is_lost_and_runs_again_only_if_it_says_so(
    replica: Callable[..., Service], server: DatabaseServer
) -> None:
    """kill -9 in two runs: both are lost when their lease ends; the one that may is run again by another replica."""
    victim = replica()
    for name, func in (("once", "trace"), ("again", "trace_again")):
        add(server, name, func, "@every 366d", '{"seconds": 600}')
    wait_for(lambda: column(server, "again", "status") == "scheduled" == column(server, "once", "status"), victim)
    server.sql("UPDATE app.scheduled_jobs SET next_run_at = UTC_TIMESTAMP(6) WHERE name IN ('once', 'again')")
    wait_for(lambda: traces(server, "once", "begin") and traces(server, "again", "begin"), victim)

    victim.process.kill()
    server.sql("UPDATE app.scheduled_jobs SET kwargs = '{}'")
    other = replica()
    wait_for(lambda: states(server, "again")["succeeded"], other)
    wait_for(lambda: states(server, "once")["lost"], other)

    assert states(server, "again") == {"lost": 1, "succeeded": 1}
    assert states(server, "once") == {"lost": 1}
    assert other.log.count("is lost: no sign of life") == 2


@pytest.mark.prd("JOB-03")
def test_a_living_run_keeps_its_lease(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """A run three times as long as its lease is not lost, and its interval does not make it overlap."""
    replicas = [replica(), replica()]
    add(server, "long", "trace", "@every 1s", '{"seconds": 6}')

    wait_for(lambda: len(traces(server, "long", "end")) > 1)
    begun, ended = traces(server, "long", "begin"), traces(server, "long", "end")

    assert states(server, "long")["lost"] == 0
    assert all(end <= begin for (_, end), (_, begin) in zip(ended, begun[1:], strict=False))
    for service in replicas:
        service.process.kill()


@pytest.mark.prd("JOB-04")
@pytest.mark.parametrize(("func", "state"), [("trace", "missed"), ("trace_again", "succeeded")])
def test_hours_without_a_replica_are_one_row(
    replica: Callable[..., Service], server: DatabaseServer, func: str, state: str
) -> None:
    """Three hours down: one run that catches up, or one missed moment; then it goes on."""
    service = replica()
    add(server, "hourly", func, "@every 1h")
    wait_for(lambda: column(server, "hourly", "status") == "scheduled", service)
    service.terminate()
    server.sql("UPDATE app.scheduled_jobs SET next_run_at = next_run_at - INTERVAL 4 HOUR WHERE name = 'hourly'")

    service = replica()
    wait_for(lambda: states(server, "hourly")[state], service)

    assert states(server, "hourly") == {state: 1}
    assert column(server, "hourly", "next_run_at > UTC_TIMESTAMP()") == 1


@pytest.mark.prd("JOB-02")
def test_a_row_that_nobody_can_run_says_why(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """Bad cron, zone, function, arguments: that row is invalid, the others run; put right, it is scheduled."""
    service = replica()
    for name, func, cron, kwargs in (
        ("cron", "trace", "0 25 * * *", "{}"),
        ("func", "os.system", "@every 1s", "{}"),
        ("kwargs", "trace", "@every 1s", '{"hours": 1}'),
        ("list", "trace", "@every 1s", "[]"),
        ("good", "trace", "@every 1s", "{}"),
    ):
        add(server, name, func, cron, kwargs)
    server.sql("INSERT INTO app.scheduled_jobs (name, func, cron, timezone) VALUES ('zone', 'trace', '* * * * *', 'X')")
    long = "('long', 'trace', CONCAT('0', REPEAT(',0', 120), ' * * * *'), 'Asia/Seoul')"
    server.sql(f"INSERT INTO app.scheduled_jobs (name, func, cron, timezone) VALUES {long}")

    wait_for(lambda: traces(server, "good", "end"), service)
    reasons = {name: column(server, name, "reason") for name in ("cron", "func", "kwargs", "list", "zone", "long")}
    server.sql("UPDATE app.scheduled_jobs SET cron = '0 23 * * *' WHERE name = 'cron'")
    wait_for(lambda: column(server, "cron", "status") == "scheduled", service)

    assert reasons["cron"] == "cron: field 2 (hour) cannot be '25'"
    assert reasons["func"].startswith("func: jobs.py has no 'os.system', only ")
    assert reasons["kwargs"] == "args, kwargs: got an unexpected keyword argument 'hours'"
    assert reasons["list"] == "kwargs: is not a JSON object"
    assert reasons["zone"].startswith("timezone: 'X' is none of the IANA zones")
    assert reasons["long"] == "cron: has 249 characters and may have 244"
    assert column(server, "cron", "reason") is None


def test_a_locked_row_holds_up_no_other_job(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """A forgotten transaction on one row: the other jobs run on, a line of the log names the job, which then runs."""
    service = replica()
    for name in ("held", "free"):
        add(server, name, "trace", "@every 1s")
    wait_for(lambda: traces(server, "held", "end") and traces(server, "free", "end"), service)

    with server.root(autocommit=False) as forgotten, forgotten.cursor() as cursor:
        cursor.execute("UPDATE app.scheduled_jobs SET kwargs = kwargs, reason = 'held' WHERE name = 'held'")
        service.wait_for_log("job held waits: another transaction holds its row")
        before, held = len(traces(server, "free", "end")), len(traces(server, "held", "end"))
        wait_for(lambda: len(traces(server, "free", "end")) > before + 2, service)
        held_since = len(traces(server, "held", "end")) - held
        component = service.health()["jobs"]["status"]
        forgotten.rollback()
    wait_for(lambda: len(traces(server, "held", "end")) > held, service)

    assert held_since == 0
    assert component == "up"
    assert service.log.count("job held waits") == 1


def test_what_a_failed_job_leaves_open_is_rolled_back(start: Start, server: DatabaseServer) -> None:
    """A session that a job neither commits nor closes ends with the job, and nothing of it is kept."""
    service = start(program="jobs_of_tests", may_trace=True, JOBS="on")
    service.wait_until_ok()
    server.sql(TRACES)

    add(server, "sloppy", "sloppy", "@every 1s")
    add(server, "good", "trace", "@every 1s")
    wait_for(lambda: states(server, "sloppy")["failed"] > 2 and len(traces(server, "good", "end")) > 2, service)

    assert traces(server, "sloppy", "begin") == []


def test_no_run_begins_after_the_request_to_stop(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """Also where the stop makes a thread free for which a job was waiting."""
    service = replica(JOBS_THREADS=1)
    add(server, "polite", "polite", "@every 1s")
    wait_for(lambda: states(server, "polite")["running"], service)
    add(server, "next", "trace", "@every 1s")
    due = "SELECT 1 FROM app.scheduled_jobs WHERE name = 'next' AND next_run_at < UTC_TIMESTAMP(6)"
    wait_for(lambda: server.sql(due), service)

    assert service.terminate() == 0

    assert states(server, "polite") == {"succeeded": 1}
    assert states(server, "next") == {}


def test_a_freeze_of_the_database_loses_no_run(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """Nobody could renew a lease meanwhile, so the replicas have time for that before a run counts as lost."""
    first = replica()
    add(server, "long", "trace", "@every 1s", '{"seconds": 8}')
    wait_for(lambda: states(server, "long")["running"], first)
    server.sql("UPDATE app.scheduled_jobs SET cron = '@every 366d' WHERE name = 'long'")
    second = replica()

    server.freeze()
    time.sleep(4)  # two leases
    server.thaw()
    wait_for(lambda: not states(server, "long")["running"], second)

    assert states(server, "long") == {"succeeded": 1}


def test_a_failure_is_a_row_and_a_log_line(start: Start, server: DatabaseServer) -> None:
    """The row has the class and the place, the log the traceback under the run's id; the next run comes."""
    service = start(program="jobs_of_tests", may_trace=True, JOBS="on")
    service.wait_until_ok()
    server.sql(TRACES)
    add(server, "failing", "failing", "@every 1s")

    wait_for(lambda: states(server, "failing")["failed"] > 1, service)
    [run_id, error] = server.sql("SELECT id, error FROM app.job_runs WHERE state = 'failed' LIMIT 1")[0]

    assert error.startswith("ValueError at ")
    assert f"[run-{run_id}] job failing failed in run {run_id}" in service.log
    assert service.health()["status"] == "ok"


@pytest.mark.prd("JOB-03")
def test_a_stop_waits_for_what_runs_and_claims_nothing_more(
    replica: Callable[..., Service], server: DatabaseServer
) -> None:
    """SIGTERM: a run of two seconds succeeds, one without an end is interrupted, and the exit code is 0."""
    service = replica()
    add(server, "short", "trace", "@every 1s", '{"seconds": 2}')
    add(server, "endless", "trace", "@every 1s", '{"seconds": 600}')
    wait_for(lambda: traces(server, "endless", "begin") and traces(server, "short", "begin"), service)

    code = service.terminate()

    assert code == 0
    assert states(server, "endless") == {"interrupted": 1}
    assert set(states(server, "short")) == {"succeeded"}
    assert len(traces(server, "short", "begin")) == len(traces(server, "short", "end"))
    assert column(server, "endless", "running_for") is None


@pytest.mark.prd("JOB-03")
def test_a_stop_ends_in_time_beside_a_frozen_database(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """A run is under way and MySQL answers nothing: the exit code is 0 before Docker would kill."""
    service = replica()
    add(server, "endless", "trace", "@every 1s", '{"seconds": 600}')
    wait_for(lambda: traces(server, "endless", "begin"), service)
    server.freeze()

    began = time.monotonic()
    code = service.terminate()

    assert code == 0
    assert 7 < time.monotonic() - began < 15  # 9.5, and what a busy machine adds


def test_an_outage_of_the_database_is_two_lines(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """The scheduler lives on; a run that ends meanwhile is recorded afterwards, and nothing is lost."""
    service = replica()
    add(server, "steady", "trace_again", "@every 1s", '{"seconds": 0.2}')
    wait_for(lambda: states(server, "steady")["succeeded"], service)

    server.kill()
    service.wait_for(lambda body: body["jobs"]["status"] == "down")
    time.sleep(3)  # longer than the leases
    server.start()
    before = len(traces(server, "steady", "end"))
    wait_for(lambda: len(traces(server, "steady", "end")) > before + 1, service)
    service.wait_until_ok()

    lines = [line for line in service.log.splitlines() if " scheduler " in line]
    assert len([line for line in lines if "jobs pause: " in line]) == 1
    assert len([line for line in lines if "jobs go on" in line]) == 1
    assert service.terminate() == 0


@pytest.mark.prd("JOB-03")
def test_a_frozen_replica_loses_its_run_and_cannot_end_it(
    replica: Callable[..., Service], server: DatabaseServer
) -> None:
    """SIGSTOP for longer than the lease: another replica takes over, and the first one's end comes too late."""
    first = replica()
    add(server, "frozen", "trace_again", "@every 366d", '{"seconds": 3}')
    wait_for(lambda: column(server, "frozen", "status") == "scheduled", first)
    server.sql("UPDATE app.scheduled_jobs SET next_run_at = UTC_TIMESTAMP(6) WHERE name = 'frozen'")
    wait_for(lambda: traces(server, "frozen", "begin"), first)

    first.process.send_signal(signal.SIGSTOP)
    second = replica()
    wait_for(lambda: states(server, "frozen")["succeeded"], second)
    first.process.send_signal(signal.SIGCONT)
    first.wait_for_log("but was recorded as lost before")

    assert states(server, "frozen") == {"lost": 1, "succeeded": 1}


@pytest.mark.prd("JOB-01")
def test_a_moment_that_has_had_its_run_does_not_run_again(
    replica: Callable[..., Service], server: DatabaseServer
) -> None:
    """Somebody sets next_run_at back to it: the job goes on with the next moment."""
    service = replica()
    add(server, "once", "trace", "@every 1h")
    wait_for(lambda: column(server, "once", "status") == "scheduled", service)
    server.sql("UPDATE app.scheduled_jobs SET next_run_at = UTC_TIMESTAMP(6) WHERE name = 'once'")
    [(moment, _)] = wait_for(lambda: traces(server, "once", "end"), service)
    server.sql(("UPDATE app.scheduled_jobs SET next_run_at = %s WHERE name = 'once'", [moment]))

    wait_for(lambda: column(server, "once", "next_run_at > UTC_TIMESTAMP(6)"), service)

    assert len(traces(server, "once", "begin")) == 1


def test_old_runs_are_purged(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """Runs older than `days` go, in batches; younger ones stay."""
    service = replica()
    add(server, "old", "trace", "@every 366d")
    job = server.sql("SELECT id FROM app.scheduled_jobs WHERE name = 'old'")[0][0]
    for days in range(5):
        moment = f"UTC_TIMESTAMP(6) - INTERVAL {days} DAY - INTERVAL 1 MINUTE"
        columns = "job_id, scheduled_for, state, finished_at"
        server.sql(f"INSERT INTO app.job_runs ({columns}) VALUES ({job}, {moment}, 'succeeded', {moment})")
    add(server, "purge", "purge_job_runs", "@every 1s", '{"days": 2, "batch": 2}')

    service.wait_for_log("purged 3 runs older than 2 days")

    assert states(server, "old") == {"succeeded": 2}


def test_an_idle_scheduler_asks_once_a_second(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """With twenty jobs that are not due it sends at most one statement a second."""
    replica()
    for number in range(20):
        add(server, f"job-{number}", "trace", "@every 366d")
    wait_for(lambda: not server.sql("SELECT 1 FROM app.scheduled_jobs WHERE enabled AND status <> 'scheduled' LIMIT 1"))
    server.sql("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = 1")

    began = time.monotonic()
    time.sleep(5)
    server.sql("SET GLOBAL general_log = 0")
    seconds = time.monotonic() - began

    log = "SELECT argument FROM mysql.general_log WHERE user_host LIKE 'app%' AND argument <> 'SELECT 1'"
    statements = [str(argument) for (argument,) in server.sql(log)]
    assert 1 < len(statements) <= seconds + 1, statements


@pytest.mark.prd("PAGE-07")
def test_the_overview_for_the_page(replica: Callable[..., Service], server: DatabaseServer) -> None:
    """The jobs that are due next, with their last runs on whichever replica; at most eight, and how many there are."""
    asked, other = replica(), replica()
    other.terminate()
    for number in range(9):
        add(server, f"later-{number}", "nothing", "@every 366d")
    add(server, "long", "trace", "@every 1s", '{"seconds": 600}')
    add(server, "good", "nothing", "@every 1s")

    def overview() -> dict[str, Any]:
        body = asked.ask("/health/jobs").json
        jobs = {job["name"]: job for job in body["jobs"]}
        is_there = jobs.get("good", {}).get("last_state") == "succeeded" and jobs["long"]["status"] == "running"
        return {**body, "jobs": jobs} if is_there else {}

    body = wait_for(overview, asked)

    assert body["total"] == 13
    assert len(body["jobs"]) == 8
    assert body["jobs"]["good"]["last_at"] < body["jobs"]["good"]["next_at"]


@pytest.mark.prd("PAGE-07")
def test_no_overview_without_details(start: Start) -> None:
    """HEALTH_DETAILS=false keeps the names of the jobs to itself."""
    service = start(JOBS="on", HEALTH_DETAILS="false")
    service.wait_until_ok()

    assert service.ask("/health/jobs").status == 404
