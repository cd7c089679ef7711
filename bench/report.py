"""The goals, and RESULTS.md: what was measured, in tables, with medians, minima and maxima."""

import os
import platform
import re
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import NamedTuple

Samples = Mapping[str, Mapping[str, list[float]]]

CROWDS = (60, 100, 200, 400)  # clients at once; the service has 20 connections and 40 worker threads

NAMES = {
    "service": "**this service**",
    "live": "**this service**, `/health/live`",
    "tutorial": "the tutorial way",
    "prestart": "the prestart-script way",
    "per_probe": "`fastapi-health`, a check per probe",
    "tutorial_requests": "the tutorial way",
    "bare_route": "bare FastAPI route (a limit)",
    "bare_asgi": "bare ASGI callable (a limit)",
}


class Goal(NamedTuple):
    """One goal: what was to be reached, and what was."""

    what: str
    goal: str
    figure: str
    met: bool


def goals(samples: Samples) -> list[Goal]:
    """Every goal that this run has samples for."""
    rows: list[Goal] = []

    def ratio(what: str, sign: str, bound: float, over: list[float], under: list[float]) -> None:
        """Of the medians; in parentheses round by round, for rounds were interleaved."""
        value = round(median(over) / median(under), 2)
        rounds = [a / b for a, b in zip(over, under, strict=True)]
        figure = f"{value:.2f} × ({min(rounds):.2f} to {max(rounds):.2f})"
        rows.append(Goal(what, f"{sign} {bound:g} ×", figure, value >= bound if sign == "≥" else value <= bound))

    def at_most(what: str, values: list[float], bound: float, unit: str, digits: int, worst: bool = False) -> None:
        value = max(values) if worst else median(values)
        goal = f"≤ {bound:g} {unit}".rstrip() + (", the worst" if worst else "")
        rows.append(Goal(what, goal, f"{spread(values, digits)} {unit}".rstrip(), round(value, digits) <= bound))

    rates, frozen, up = samples["load up rate"], samples["load frozen rate"], samples["load up again rate"]
    ratio("requests/s of `/health`, of a bare FastAPI route", "≥", 2, rates["service"], rates["bare_route"])
    ratio("requests/s of `/health/live`, of a bare FastAPI route", "≥", 2, rates["live"], rates["bare_route"])
    ratio("requests/s of `/health` while frozen, of those while up", "≥", 0.98, frozen["service"], up["service"])
    for path in ("/api/", "/api/test"):
        for connections in (1, 16):
            of = samples[f"{path} at {connections}"]
            what = f"requests/s of `{path}` over {connections} connections, of the tutorial way"
            ratio(what, "≥", 1, of["service"], of["tutorial_requests"])
    for subject in ("service /api/test", "service_untyped /untyped"):
        path = subject.split()[1]
        alone = samples["clients 20 rate"][subject]
        for clients in CROWDS:
            of = {figure: samples[f"clients {clients} {figure}"][subject] for figure in ("rate", "failed", "p99")}
            ratio(f"requests/s of `{path}` with {clients} clients, of those with 20", "≥", 0.9, of["rate"], alone)
            at_most(f"requests of `{path}` not served, {clients} clients", of["failed"], 0, "", 0, worst=True)
            fair = clients / median(of["rate"]) * 1000
            at_most(f"p99 of `{path}`, {clients} clients", of["p99"], round(1.5 * fair), "ms", 0)
        after = samples["clients 20 afterwards rate"][subject]
        ratio(f"requests/s of `{path}` with 20 clients, afterwards and before", "≥", 0.9, after, alone)
    queries, seconds = samples["queries"]["service"][0], samples["queries seconds"]["service"][0]
    asked = f"{queries:.0f} in {seconds:.1f} s"
    rows.append(Goal("database queries during 1,000 probes", "≤ 1 /s", asked, queries <= seconds + 1))
    for figure in samples:
        if figure.startswith("reaction"):
            at_most(f"{figure} of waiting", samples[figure]["service"], 0.15, "s", 2)
            at_most(f"{figure} of waiting", samples[figure]["service"], 0.3, "s", 2, worst=True)
    at_most("closed connection reported", samples["refuse reported"]["service"], 0.1, "s", 3)
    at_most("frozen server reported", samples["frozen reported"]["service"], 3.2, "s", 2, worst=True)
    ready, port = samples["start to 200"], samples["start to port"]
    ratio("start → 200, of a bare FastAPI app", "≤", 1.5, ready["service"], ready["bare_route"])
    ratio("start → `/health/live`, of a bare FastAPI app", "≤", 1.1, port["service"], port["bare_route"])
    at_most("memory after boot", samples["memory after boot"]["service"], 80, "MB", 1)
    for what, bound, unit in (("memory", 4, "MB"), ("threads", 0, ""), ("files", 1, ""), ("connections", 0, "")):
        if "growth " + what in samples:
            grown = [after - samples["growth " + what]["at first"][0] for after in samples["growth " + what]["after"]]
            at_most(f"growth of {what}, 10⁵ probes and 500 outages", grown, bound, unit, 1, worst=True)
    return rows


def spread(values: list[float], digits: int) -> str:
    """Median (minimum to maximum)."""
    if not values:
        return "-"
    low, middle, high = (f"{value:.{digits}f}" for value in (min(values), median(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows]) + "\n"


def write(samples: Samples, database: str, load_generator: str, minutes: float, path: Path) -> None:
    """RESULTS.md."""
    everyday = [subject for subject in NAMES if subject in samples["start to 200"]]
    versions = ", ".join(
        f"{name} {version(name)}" for name in ("fastapi", "uvicorn", "sqlalchemy", "pymysql", "fastapi-health")
    )
    parts = [
        "# Results\n",
        "Made by `python bench/bench.py`; a figure is the median of its samples (minimum to maximum in parentheses). "
        "Every figure comes from one run, in which the subjects took turns. What each subject is, and why it is a "
        "fair picture, stands in its file in `subjects/`.\n",
        f"{_machine()}; Python {platform.python_version()}, {versions}; {database}; load by {load_generator}, which "
        f"shares the machine with what it measures. {minutes:.0f} minutes.\n",
        "## Goals\n",
        goal_table(samples),
        "\n## The database comes up: how long until 200\n",
        "Seconds from the moment the port opens. After a give-up the process is started again, as `restart: "
        "on-failure` does; the tutorial way gives up after 20 s. `fastapi-health` does not wait: it says what is true "
        "whenever it is asked, and here it is asked all the time.\n",
        _by_subject(samples, [figure for figure in samples if figure.startswith("reaction")], 2),
        "\n![Reaction](reaction.svg)\n",
        "## Start with the database up\n",
        "Seconds; this service opens its port first and imports SQLAlchemy afterwards.\n",
        _by_subject(samples, ["start to port", "start to 200", "memory after boot"], 2, "bare_route"),
        "\n## Probes\n",
        "Requests a second of `/health` over 16 connections, p50 and p99 in milliseconds, and requests per second of "
        "the server's own CPU time, which depends less on what else the machine does.\n",
        _loads(samples),
        "\n![Throughput](throughput.svg)\n",
        "Statements that the database ran for 1,000 probes at 200 a second, and the seconds these took:\n",
        _by_subject(samples, ["queries", "queries seconds"], 1),
        "\n## Requests\n",
        "Requests a second; both log each request and answer with the database's time after one query.\n",
        _by_subject(samples, [f"{path} at {number}" for path in ("/api/", "/api/test") for number in (1, 16)], 0),
        "\n## More clients than connections and worker threads\n",
        "20 connections in the pool, 40 worker threads. Requests a second, how many were not served, and p99 in "
        "milliseconds; afterwards: 20 clients again.\n",
        _crowds(samples),
        "\n## The database goes away after the boot\n",
        "Seconds until `/health` says so, and until it says that the database is back. The tutorial way and the "
        "prestart script never say so: their health route is static. Between two checks of `fastapi-health` nobody "
        "knows anything; here it is asked all the time, and what it says of a frozen server comes when the driver "
        "gives up.\n",
        _by_subject(samples, [name for name in samples if name.endswith((" reported", " recovered"))], 2),
        "\n![While the server is frozen](frozen.svg)\n",
        "## SIGTERM\n",
        "Seconds to the end of the process, and its exit code; 137 means that it had to be killed after 10 s.\n",
        _stops(samples, everyday),
        "\n## No growth\n",
        _growth(samples),
        "\n## A fleet of 50 waiting processes\n",
        "Logins in the first 10 s of a server that answers but lets nobody in yet, the most within 0.1 s, and the "
        "same after the first second. "
        "Simulated, with the service's own code for the pauses; 100 runs.\n",
        _by_subject(samples, ["fleet logins", "fleet peak", "fleet peak after 1 s"], 0),
    ]
    path.write_text("\n".join(parts))


def _crowds(samples: Samples) -> str:
    columns = [f"clients {clients}" for clients in (20, *CROWDS, "20 afterwards")]
    rows = []
    for subject in samples["clients 20 rate"]:
        cells = []
        for column in columns:
            rate, failed, p99 = (median(samples[f"{column} {figure}"][subject]) for figure in ("rate", "failed", "p99"))
            cells.append(f"{rate:.0f} /s, {failed:.0f} failed, {p99:.0f} ms")
        name, path = subject.split()
        rows.append([f"{NAMES.get(name, NAMES['service'])} `{path}`", *cells])
    return table(["", *columns], rows)


def goal_table(samples: Samples) -> str:
    rows = [[goal.what, goal.goal, goal.figure, "yes" if goal.met else "**no**"] for goal in goals(samples)]
    return table(["goal", "at", "measured", "met"], rows)


def _by_subject(samples: Samples, figures: list[str], digits: int, ratio_to: str = "") -> str:
    """A row a subject. `ratio_to` adds how many times that subject's median each one is."""
    present = {subject for figure in figures for subject in samples[figure]}
    rows = []
    for subject in [name for name in NAMES if name in present] + sorted(present - set(NAMES)):
        cells = [NAMES.get(subject, subject)]
        for figure in figures:
            values = samples[figure].get(subject, [])
            cell = spread(values, digits)
            if ratio_to and values:
                cell += f", {median(values) / median(samples[figure][ratio_to]):.2f} ×"
            cells.append(cell)
        rows.append(cells)
    return table(["", *figures], rows)


def _loads(samples: Samples) -> str:
    limit = median(samples["load up rate"]["bare_route"])
    rows = []
    for state in ("up", "refused", "frozen"):
        present = samples[f"load {state} rate"]
        for subject, rates in ((name, present[name]) for name in NAMES if name in present):
            answered = sum(rates) > 0
            rest = [
                spread(samples[f"load {state} {name}"][subject], 1) if answered else "-"
                for name in ("p50_ms", "p99_ms")
            ]
            cpu = spread(samples[f"load {state} cpu"][subject], 0)
            rows.append([state, NAMES[subject], spread(rates, 0), f"{median(rates) / limit:.2f} ×", *rest, cpu])
    return table(["database", "", "requests/s", "of a bare route", "p50 ms", "p99 ms", "requests per CPU second"], rows)


def _stops(samples: Samples, subjects: list[str]) -> str:
    figures = [name for name in samples if name.startswith("stop") and not name.endswith("code")]
    rows = []
    for subject in subjects:
        cells = [
            f"{spread(samples[name][subject], 2)}, exit {samples[name + ' code'][subject][0]:.0f}"
            if subject in samples[name]
            else "-"
            for name in figures
        ]
        rows.append([NAMES[subject], *cells])
    return table(
        ["", *(name.removeprefix("stop ") for name in figures)], [row for row in rows if set(row[1:]) != {"-"}]
    )


def _growth(samples: Samples) -> str:
    rows = []
    for name, digits in (("memory", 1), ("threads", 0), ("files", 0), ("connections", 0)):
        held = samples[f"growth {name}"]
        rows.append([name, *(f"{value:.{digits}f}" for value in held["at first"] + held["after"])])
    return table(["", "after 10 outages", "after 10⁵ probes", "after 500 outages more"], rows)


def _machine() -> str:
    """The processor, how many, and the memory."""
    cpuinfo = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*: (.*)", cpuinfo)
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    gigabytes = int(memory[1]) / 1e6 if memory else 0
    return f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, {gigabytes:.0f} GB"
