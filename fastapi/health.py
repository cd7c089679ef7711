"""Health: what is known of each component and of the start, in memory. Asking it never touches a dependency."""

import json
import time
from collections import deque
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple

from boot import Boot
from faults import Fault, Reason

HISTORY_CHANGES = 100  # entries that are kept, and then the oldest goes
HISTORY_CHECKS = 300
STALE_GRACE = 0.5  # seconds that a check may come after its freshness deadline, because a machine may be busy

STATUSES = ("ok", "degraded", "starting", "unavailable", "stopping")  # of the whole service
Status = Literal["up", "down", "waiting", "stale"]


class Snapshot(NamedTuple):
    """A component as the last check found it. Never changed, only replaced: any thread may read it at any time."""

    status: Status
    since: datetime
    checked_at: datetime | None = None
    latency_ms: float | None = None
    attempts: int = 0
    reason: Reason | None = None
    hint: str | None = None


class Change(NamedTuple):
    """From when on a component was seen in a status."""

    at: datetime
    status: Status
    reason: Reason | None = None


class Check(NamedTuple):
    """A check that succeeded."""

    at: datetime
    latency_ms: float | None


class Wait(NamedTuple):
    """When the wait for a component ends, and the exit code that the process then has."""

    component: str
    wait_ends_at: datetime
    exit_code: int


class Component:
    """One dependency: its latest snapshot, how long that counts, and what came before. One thread at a time writes."""

    def __init__(self, name: str, required: bool = True) -> None:
        self.name = name
        self.required = required
        self.stale_at = float("inf")  # the freshness deadline, on the monotonic clock
        self.fault: Fault | None = None
        self.status_since = time.monotonic()
        self.last_check_began = self.status_since
        now = datetime.now(UTC)
        self._latest = Snapshot("waiting", now)
        self._changes = deque([Change(now, "waiting")], HISTORY_CHANGES)
        self._checks: deque[Check] = deque(maxlen=HISTORY_CHECKS)

    @property
    def snapshot(self) -> Snapshot:
        """The latest one, or a stale one where the check itself is stuck or dead."""
        late = self._seconds_late
        if not late:
            return self._latest
        hint = f"The check of this component is stuck: its result is {late:.0f} s late. "
        return self._latest._replace(
            status="stale", reason="timeout", hint=hint + "A DNS server that does not answer can hold it up."
        )

    @property
    def _seconds_late(self) -> float:
        late = time.monotonic() - self.stale_at
        return late if late >= STALE_GRACE else 0.0

    def expect_check_within(self, seconds: float) -> None:
        """A check begins, and ends within so many seconds. What is known counts no longer than that."""
        self.last_check_began = time.monotonic()
        self.stale_at = self.last_check_began + seconds

    def publish(
        self,
        status: Literal["up", "down", "waiting"],
        next_within: float,
        fault: Fault | None = None,
        latency_ms: float | None = None,
    ) -> float | None:
        """Replaces the snapshot; the next one comes within `next_within` seconds.

        Returns for how many seconds the status before had lasted, or None where the status is the same.
        `attempts` counts the tries of this wait or outage; once up it stays at what it took.
        """
        before, now, clock = self._latest, datetime.now(UTC), time.monotonic()
        self._remember(self._stale_change(now))
        self._remember(Change(now, status, fault.reason if fault else None))
        lasted = None if before.status == status else clock - self.status_since
        if lasted is None:
            since, attempts = before.since, before.attempts + (status != "up")
        else:
            since, attempts, self.status_since = now, before.attempts + 1 if status == "up" else 1, clock
        latency_ms = latency_ms and round(latency_ms, 2)
        if status == "up":
            self._checks.append(Check(now, latency_ms))
        reason, hint = (fault.reason, fault.hint) if fault else (None, None)
        self.fault = fault
        self._latest = Snapshot(status, since, now, latency_ms, attempts, reason, hint)
        self.stale_at = clock + next_within
        return lasted

    def history(self) -> dict[str, Any]:
        """The changes of the status and the latencies, the oldest first."""
        stale = self._stale_change(datetime.now(UTC))
        changes = [*self._changes.copy(), *([stale] if stale else [])]
        checks = [check._asdict() for check in self._checks.copy()]
        return {"changes": [change._asdict() for change in changes], "checks": checks}

    def _remember(self, change: Change | None) -> None:
        if change and change.status != self._changes[-1].status:
            self._changes.append(change)

    def _stale_change(self, now: datetime) -> Change | None:
        late = self._seconds_late
        return Change(now - timedelta(seconds=late), "stale", "timeout") if late else None


class Health:
    """The answer to `/health`: the start and the components, added up."""

    def __init__(self, boot: Boot, *components: Component) -> None:
        self.boot = boot
        self.components = components
        self.details = True
        self.started_at = datetime.now(UTC)  # tells one process from the next
        self.wait: Wait | None = None
        self._cached: tuple[object, bytes] = (None, b"")

    def add(self, component: Component) -> Component:
        """From now on this component counts, too."""
        self.components = (*self.components, component)
        return component

    def status(self, snapshots: list[Snapshot]) -> str:
        if self.boot.stopping.is_set():
            return "stopping"
        if not self.boot.done:
            return "starting"
        bad = {c.required for c, snapshot in zip(self.components, snapshots, strict=False) if snapshot.status != "up"}
        return "unavailable" if True in bad else "degraded" if bad else "ok"

    def report(self) -> tuple[int, bytes]:
        """The status code and the JSON body of `/health`."""
        snapshots = [component.snapshot for component in self.components]
        status = self.status(snapshots)
        code = 200 if status in {"ok", "degraded"} else 503
        if status in {"starting", "stopping"}:  # the times of the stages are running
            return code, self._body(status, snapshots)
        key = (status, snapshots)
        if self._cached[0] != key:
            self._cached = key, self._body(status, snapshots)
        return code, self._cached[1]

    def history(self) -> bytes:
        """The JSON body of `/health/history`: what each component was like in this process."""
        body: dict[str, Any] = {}
        for component in self.components:
            shown = component.history() if self.details else {"status": component.snapshot.status}
            body[component.name] = shown
        return to_json({"started_at": self.started_at, **body} if self.details else body)

    def _body(self, status: str, snapshots: list[Snapshot]) -> bytes:
        body: dict[str, Any] = {"status": status}
        for component, snapshot in zip(self.components, snapshots, strict=False):
            body[component.name] = (
                {**snapshot._asdict(), "required": component.required} if self.details else {"status": snapshot.status}
            )
        if self.details:
            body["started_at"] = self.started_at
            body["wait"] = self.wait and self.wait._asdict()
            body["stages"] = [
                {"name": run.stage.name, "state": run.state, "seconds": round(run.seconds, 3), "detail": run.detail}
                for run in self.boot.runs
            ]
        return to_json(body)


def to_json(body: dict[str, Any]) -> bytes:
    """As all answers of /health are: moments in UTC, with milliseconds and a Z."""
    return json.dumps(body, default=_timestamp, ensure_ascii=False).encode()


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
