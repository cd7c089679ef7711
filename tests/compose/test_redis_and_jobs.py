"""Redis and the scheduler in containers: three replicas, on MySQL 9.7, with Redis 8."""

from collections.abc import Iterator

import pytest
from compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(400)]

REPLICAS = """
services:
  fastapi:
    ports: !override []
    environment: {JOBS: "on", JOBS_LEASE: "2"}
    deploy: {replicas: 3}
"""
GAPS = """
SELECT COUNT(*) FROM (
  SELECT COUNT(*) AS found, TIMESTAMPDIFF(SECOND, MIN(scheduled_for), MAX(scheduled_for)) + 1 AS expected
  FROM job_runs JOIN scheduled_jobs j ON j.id = job_id WHERE name LIKE 'job-%' GROUP BY job_id HAVING found <> expected
) AS gaps
"""


@pytest.fixture(scope="module")
def replicas(image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Three replicas with jobs, beside MySQL and Redis."""
    folder = tmp_path_factory.mktemp("replicas") / "project"
    stack = Stack(folder, f"{run_name}-replicas", image, {"REDIS_PASSWORD": "lettersAndDigits1"})
    (folder / "replicas.yml").write_text(REPLICAS)
    stack.files = ["docker-compose.yml", "docker-compose.redis.yml", "replicas.yml"]
    stack.up()
    yield stack
    stack.compose("down", "--volumes", "--timeout", "5")
    stack.remove()


def probe(stack: Stack) -> str:
    """Of a replica that no test kills."""
    return stack.compose("exec", "-T", "--index", "2", "fastapi", "python", "probe.py").strip()


@pytest.mark.prd("JOB-01")
def test_replicas_run_each_moment_once(replicas: Stack) -> None:
    """Ten jobs a second, one replica killed in between: no moment is missing, none is double, no deadlock."""
    rows = ", ".join(f"('job-{number}', 'heartbeat', '@every 1s')" for number in range(10))
    replicas.sql(f"INSERT INTO scheduled_jobs (name, func, cron) VALUES {rows}")
    replicas.until(lambda: int(replicas.sql("SELECT COUNT(*) FROM job_runs WHERE state = 'succeeded'")) > 30)

    replicas.docker("kill", f"{replicas.name}-fastapi-1")
    replicas.until(lambda: int(replicas.sql("SELECT COUNT(*) FROM job_runs WHERE state = 'succeeded'")) > 120)
    replicas.sql("UPDATE scheduled_jobs SET enabled = 0")

    owners = replicas.sql("SELECT COUNT(DISTINCT owner) FROM job_runs")
    assert replicas.sql(GAPS) == "0"
    assert int(owners) >= 3
    assert replicas.sql("SELECT DISTINCT state FROM job_runs WHERE state NOT IN ('succeeded', 'lost', 'running')") == ""
    assert "deadlock" not in replicas.log("fastapi").lower()


@pytest.mark.prd("RED-02")
def test_redis_goes_away_and_comes_back(replicas: Stack) -> None:
    """Frozen, Redis makes the replicas degraded, not unhealthy; its data survives its death."""
    password = 'REDISCLI_AUTH="$REDIS_PASSWORD" redis-cli'
    replicas.compose("exec", "-T", "redis", "sh", "-c", f"{password} set kept yes")
    before = probe(replicas)

    replicas.compose("kill", "--signal", "SIGSTOP", "redis")
    replicas.until(lambda: probe(replicas).startswith("degraded"))
    degraded = probe(replicas)
    replicas.compose("kill", "--signal", "SIGCONT", "redis")
    replicas.until(lambda: probe(replicas).startswith("ok"))
    replicas.compose("kill", "redis")
    replicas.compose("start", "redis")
    replicas.until(lambda: probe(replicas).startswith("ok"))

    assert before == "ok: database up; redis up; jobs up"
    assert "redis down: timeout: " in degraded
    assert replicas.compose("exec", "-T", "redis", "sh", "-c", f"{password} get kept").strip() == "yes"
