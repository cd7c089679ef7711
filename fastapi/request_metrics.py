"""What is counted of requests, in plain numbers: a request costs microseconds, and no library until somebody scrapes.

Only the event loop writes here. `metrics.py` makes Prometheus text of it.
"""

from bisect import bisect_left
from collections import defaultdict

from starlette.types import Scope

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"  # every method that its path has not
UNMATCHED = "unmatched"  # every path that no route has


class Histogram:
    """How many durations were how long."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.sum += seconds

    def cumulative(self) -> list[tuple[str, float]]:
        """The buckets as Prometheus wants them: each holds those before it."""
        total, result = 0, []
        for bound, count in zip((*map(str, BUCKETS), "+Inf"), self.counts, strict=True):
            total += count
            result.append((bound, float(total)))
        return result


class RequestMetrics:
    """All requests of this process but the probes."""

    def __init__(self) -> None:
        self.in_progress = 0
        self.total: defaultdict[tuple[str, str, int], int] = defaultdict(int)  # by method, route and status
        self.durations: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)  # by method and route
        self.unavailable: defaultdict[str, int] = defaultdict(int)  # by reason
        # There from the beginning, so that a scanner adds nothing, and a rate sees its first request.
        self.total[OTHER, UNMATCHED, 404] = 0
        self.durations[OTHER, UNMATCHED] = Histogram()

    def record(self, scope: Scope, status: int, seconds: float) -> None:
        """A request has ended. Its labels are those of the route, never what a client makes up."""
        route = route_template(scope)
        method: str = scope["method"]
        if status == 405 or route == UNMATCHED or method not in METHODS:
            method = OTHER
        self.total[method, route, status] += 1
        self.durations[method, route].observe(seconds)
        if status == 503:
            self.unavailable[scope.get("reason", "unknown")] += 1


def route_template(scope: Scope) -> str:
    """The path of the route that was selected, with names in place of values; of a mounted application its own part."""
    # FastAPI keeps the template with the prefixes of the included routers here; scope["route"] has its own alone.
    context = scope.get("fastapi", {}).get("effective_route_context")
    route = (context.starlette_route or context) if context else scope.get("route")
    if route is not None:
        return str(route.path_format)
    endpoint = scope.get("endpoint")
    if endpoint is not None:  # a route or a mount of Starlette's own, which FastAPI does not name
        for each in scope["app"].routes:
            if endpoint in (getattr(each, "endpoint", None), getattr(each, "app", None)):
                return str(each.path_format)
    return UNMATCHED
