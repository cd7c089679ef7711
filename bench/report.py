"""The goals, and RESULTS.md: what was measured, in tables, with medians, minima and maxima."""

from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

Samples = Mapping[str, Mapping[str, list[float]]]

NAMES = {
    "service": "**this service**",
    "live": "**this service**, `/health/live`",
    "tutorial": "the tutorial way",
    "prestart": "the prestart-script way",
    "per_probe": "`fastapi-health`, a check per probe",
    "bare_route": "bare FastAPI route (a limit)",
    "bare_asgi": "bare ASGI callable (a limit)",
}


class Goal(NamedTuple):
    """One goal: what was to be reached, and what was."""

    what: str
    goal: str
    figure: str
    met: bool


def ratios(samples: Samples, figure: str, over: str, under: str, figure_under: str = "") -> list[float]:
    """Round by round, for rounds were interleaved: what slows one round down slows both."""
    return [a / b for a, b in zip(samples[figure][over], samples[figure_under or figure][under], strict=True)]


def goals(samples: Samples) -> list[Goal]:
    """Every goal that this run has samples for."""
    rows: list[Goal] = []

    def at_least(what: str, values: list[float], bound: float) -> None:
        rows.append(Goal(what, f"≥ {bound:g} ×", spread(values, 2) + " ×", round(median(values), 2) >= bound))

    def at_most(what: str, values: list[float], bound: float, unit: str, digits: int, worst: bool = False) -> None:
        value = max(values) if worst else median(values)
        goal = f"≤ {bound:g} {unit}" + (" at most" if worst else "")
        rows.append(Goal(what, goal, f"{spread(values, digits)} {unit}", round(value, digits) <= bound))

    at_least(
        "`/health`, requests/s of a bare FastAPI route", ratios(samples, "load up rate", "service", "bare_route"), 1
    )
    at_least(
        "`/health/live`, requests/s of a bare FastAPI route", ratios(samples, "load up rate", "live", "bare_route"), 1
    )
    frozen = ratios(samples, "load frozen rate", "service", "service", "load up again rate")
    at_least("`/health` while frozen, requests/s of those while up", frozen, 0.98)
    queries = ratios(samples, "queries", "service", "service", "queries seconds")
    at_most("database queries a second, under full probe load", queries, 1, "/s", 2)
    for figure in samples:
        if figure.startswith("reaction"):
            at_most(f"{figure} of waiting: until 200", samples[figure]["service"], 0.15, "s", 2)
            at_most(f"{figure} of waiting: the slowest", samples[figure]["service"], 0.3, "s", 2, worst=True)
    at_most("closed connection reported", samples["refuse reported"]["service"], 0.1, "s", 3)
    at_most("frozen server reported", samples["frozen reported"]["service"], 3.2, "s", 2, worst=True)
    at_most("start → 200, of a bare FastAPI app", ratios(samples, "start to 200", "service", "bare_route"), 1.6, "×", 2)
    port = ratios(samples, "start to port", "service", "bare_route")
    at_most("start → `/health/live`, of a bare FastAPI app", port, 1.2, "×", 2)
    at_most("memory after boot", samples["memory after boot"]["service"], 75, "MB", 1)
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
