"""What migrations and accounts cost: a start without them, at head and on an empty database, replicas, logins.

`python bench/schema_and_accounts.py` takes about two minutes and writes SCHEMA_AND_ACCOUNTS.md.
"""

import random
import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from urllib.parse import urlencode

import measure
from measure import Lab, Service
from report import spread, table

ROUNDS = 9
REPLICAS = 10
AT_HEAD = 20  # replicas
CLIENTS = (1, 8, 50)
LOGIN_SECONDS = 10
STARTS = {"off": "`MIGRATIONS=off`", "head": "`run`, the schema at head", "empty": "`run`, an empty database"}


def started(lab: Lab, **settings: str) -> tuple[Service, float, float]:
    """A service that is ready, the seconds until then, and its memory in MB."""
    began = time.monotonic()
    service = lab.start("service", settings=settings)
    measure.until(lambda: measure.ok(service))
    return service, time.monotonic() - began, measure.footprint(lab, service).mb


def starts(lab: Lab) -> list[str]:
    ready: dict[str, list[float]] = {way: [] for way in STARTS}
    stage: dict[str, list[float]] = {way: [] for way in STARTS}
    memory: dict[str, list[float]] = {way: [] for way in STARTS}
    measure.end(started(lab)[0])  # Python compiles what it imports for the first time
    for _ in range(ROUNDS):
        for way in random.sample(list(STARTS), len(STARTS)):
            if way == "empty":
                lab.server.restore()
            service, seconds, mb = started(lab, MIGRATIONS="off" if way == "off" else "run")
            stages = {each["name"]: each["seconds"] for each in service.ask("/health").json["stages"]}
            ready[way].append(seconds)
            stage[way].append(stages["migrations"] * 1000)
            memory[way].append(mb)
            measure.end(service)
    rows = [
        [name, spread(ready[way], 2), spread(stage[way], 1), spread(memory[way], 1)] for way, name in STARTS.items()
    ]
    took, more = (median(figure["head"]) - median(figure["off"]) for figure in (stage, memory))
    return [
        f"## A start\n\n{ROUNDS} rounds in turns: the median (minimum to maximum).\n",
        table(["", "start to 200, s", "the stage, ms", "memory afterwards, MB"], rows),
        f"Goals: at head a start takes at most 10 ms ({took:+.1f}: {_yes(took <= 10)}) and 1 MB "
        f"({more:+.1f}: {_yes(more <= 1)}) more than with `off`.\n",
    ]


def replicas(lab: Lab) -> list[str]:
    """Ten at once on an empty database, and twenty at head."""
    lab.server.restore()
    began = time.monotonic()
    first = [lab.start("service") for _ in range(REPLICAS)]
    for service in first:
        measure.until(partial(measure.ok, service))
    seconds = time.monotonic() - began
    ran = lab.server.sql("SELECT revision, COUNT(*) FROM app.schema_history WHERE how = 'run' GROUP BY revision")
    ended = sum(service.process.poll() is not None for service in first)
    for service in first:
        measure.end(service)

    lab.server.sql("SET GLOBAL log_output = 'TABLE'", "TRUNCATE mysql.general_log", "SET GLOBAL general_log = 1")
    second = [lab.start("service") for _ in range(AT_HEAD)]
    for service in second:
        measure.until(partial(measure.ok, service))
    lab.server.sql("SET GLOBAL general_log = 0")
    locks = lab.server.sql(
        "SELECT COUNT(*) FROM mysql.general_log WHERE argument LIKE '%GET_LOCK%' AND user_host LIKE 'app%'"
    )
    for service in second:
        measure.end(service)
    revisions = ", ".join(f"{name} {times} ×" for name, times in ran)
    return [
        "## Replicas at once\n",
        f"{REPLICAS} on an empty database: all ready after {seconds:.1f} s, {ended} ended; ran: {revisions}.\n",
        f"{AT_HEAD} at head: {locks[0][0]} times GET_LOCK.\n",
    ]


def logins(lab: Lab) -> list[str]:
    """Logins one after the other and several at once, and what `/health` takes meanwhile."""
    password = secrets.token_hex(8)
    service, *_ = started(lab, JWT_SECRET=secrets.token_hex(32), ADMIN_PASSWORD=password)
    form = urlencode({"username": "admin", "password": password})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    rows = []
    for clients in CLIENTS:
        ends_at = time.monotonic() + LOGIN_SECONDS

        def client(_: int, ends_at: float = ends_at) -> int:
            number = 0
            while time.monotonic() < ends_at:
                assert service.ask("/api/login", "POST", kind, body=form).status == 200
                number += 1
            return number

        with _probing(service) as latencies, ThreadPoolExecutor(clients) as pool:
            number = sum(pool.map(client, range(clients)))
        hundredths = quantiles(latencies, n=100)
        health = f"{hundredths[49]:.1f} ms, {hundredths[98]:.1f} ms, {max(latencies):.1f} ms"
        rows.append([str(clients), f"{number / LOGIN_SECONDS:.1f}", health])
    measure.end(service)
    return [
        "## Logins\n\nargon2id with 19 MiB, two hashes at a time, on the two cores that the clients use, too.\n",
        table(["clients", "logins a second", "`/health` meanwhile: p50, p99, worst"], rows),
    ]


@contextmanager
def _probing(service: Service) -> Iterator[list[float]]:
    """The milliseconds of a probe every 20 ms."""
    latencies: list[float] = []
    done = threading.Event()

    def probe() -> None:
        while not done.wait(0.02):
            latencies.append(service.ask("/health").seconds * 1000)

    thread = threading.Thread(target=probe)
    thread.start()
    yield latencies
    done.set()
    thread.join()


def _yes(met: bool) -> str:
    return "met" if met else "**missed**"


def main() -> None:
    with Lab() as lab:
        database = lab.server.sql("SELECT VERSION()")[0][0]
        head = [
            "# What migrations and accounts cost\n",
            f"Made by `python bench/schema_and_accounts.py`; {database}, two cores for all.\n",
        ]
        text = "\n".join([*head, *starts(lab), *replicas(lab), *logins(lab)])
    Path(__file__).with_name("SCHEMA_AND_ACCOUNTS.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
