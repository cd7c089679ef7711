"""Health: what is known of the database, what `/health` says of it, and the probe that HEALTHCHECK runs.

`python health.py` asks the running service and exits 0 (healthy) or 1 (not). To start fast it needs the standard
library alone, and so does all of this module.
"""

import json
import os
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from boot import Boot
    from faults import Fault

HISTORY_CHANGES = 100  # entries that are kept, and then the oldest goes
HISTORY_CHECKS = 300
STALE_GRACE = 0.5  # seconds that news of the database may be late before it counts as stale
PROBE_TIMEOUT = 3.0  # seconds


class Snapshot(NamedTuple):
    """The database as the last check found it. Never changed, only replaced: any thread may read it at any time."""

    status: Literal["up", "down", "waiting", "stale"]
    since: datetime
    checked_at: datetime | None = None
    latency_ms: float | None = None
    attempts: int = 0
    reason: str | None = None
    hint: str | None = None


class GiveUp(NamedTuple):
    """When the wait for the database ends, and the exit code that the process then has."""

    at: datetime
    exit_code: int


class Change(NamedTuple):
    """From when on the database was seen in a status."""

    at: datetime
    status: str
    reason: str | None = None


class Check(NamedTuple):
    """A check that succeeded."""

    at: datetime
    latency_ms: float | None


class Health:
    """The answer to `/health`, from memory alone: no probe can load the database, no database can slow a probe."""

    def __init__(self, boot: "Boot") -> None:
        self.boot = boot
        self.details = True
        self.started_at = datetime.now(UTC)  # tells one process from the next
        self.gives_up: GiveUp | None = None
        self._latest = Snapshot("waiting", self.started_at)
        self._changes: tuple[Change, ...] = (Change(self.started_at, "waiting"),)
        self._checks: tuple[Check, ...] = ()
        self._news_due = float("inf")
        self._written: tuple[str, Snapshot] | None = None
        self._text = b""

    @property
    def database(self) -> Snapshot:
        """The latest snapshot, or a stale one where the check itself is stuck or dead."""
        late = self._overdue
        if not late:
            return self._latest
        hint = f"The check of the database is stuck: its news is {late:.0f} s overdue. A name server that does not "
        return self._latest._replace(status="stale", reason="timeout", hint=hint + "answer can hold it up.")

    @property
    def _overdue(self) -> float:
        """Seconds that the promised news is late, or 0 while it is not late enough to count as stale."""
        late = time.monotonic() - self._news_due
        return late if late >= STALE_GRACE else 0.0

    def publish(
        self,
        status: Literal["up", "down", "waiting"],
        next_news_within: float,
        fault: "Fault | None" = None,
        latency_ms: float | None = None,
    ) -> Snapshot:
        """Replaces the snapshot. The caller promises to call again within `next_news_within` seconds.

        `attempts` counts the tries of this wait or outage; once up it stays at what it took.
        """
        before, now = self._latest, datetime.now(UTC)
        reason, hint = (fault.reason, fault.hint) if fault else (None, None)
        self._remember(self._stale_change(now))
        self._remember(Change(now, status, reason))
        if before.status == status:
            since, attempts = before.since, before.attempts + (status != "up")
        else:
            since, attempts = now, before.attempts + 1 if status == "up" else 1
        latency_ms = latency_ms and round(latency_ms, 2)
        if status == "up":
            self._checks = (*self._checks[1 - HISTORY_CHECKS :], Check(now, latency_ms))
        self._latest = Snapshot(status, since, now, latency_ms, attempts, reason, hint)
        self.expect_news(next_news_within)
        return before

    def expect_news(self, within: float) -> None:
        """Promises a call of `publish` within so many seconds from now. What is known counts no longer than that."""
        self._news_due = time.monotonic() + within

    def _remember(self, change: Change | None) -> None:
        if change and change.status != self._changes[-1].status:
            self._changes = (*self._changes[1 - HISTORY_CHANGES :], change)

    def _stale_change(self, now: datetime) -> Change | None:
        late = self._overdue
        return Change(now - timedelta(seconds=late), "stale", "timeout") if late else None

    def report(self) -> tuple[int, bytes]:
        """The status code and the JSON body of `/health`."""
        database, boot = self.database, self.boot
        if boot.stopping.is_set():
            status = "stopping"
        elif not boot.done:
            status = "starting"
        else:
            status = "ok" if database.status == "up" else "unavailable"
        code = 200 if status == "ok" else 503
        if status == "starting":  # the times of the stages are running
            return code, self._body(status, database)
        if self._written != (status, database):
            self._written, self._text = (status, database), self._body(status, database)
        return code, self._text

    def history(self) -> bytes:
        """The JSON body of `/health/history`: the changes and the latencies of this process, the oldest first."""
        if not self.details:
            return json.dumps({"database": {"status": self.database.status}}).encode()
        stale = self._stale_change(datetime.now(UTC))
        changes = (*self._changes, stale) if stale else self._changes
        return json.dumps(
            {
                "started_at": self.started_at,
                "changes": [change._asdict() for change in changes],
                "checks": [check._asdict() for check in self._checks],
            },
            default=_timestamp,
        ).encode()

    def _body(self, status: str, database: Snapshot) -> bytes:
        body: dict[str, Any] = {"status": status, "database": {"status": database.status}}
        if self.details:
            body["database"] = database._asdict()
            body["started_at"] = self.started_at
            body["gives_up"] = self.gives_up and self.gives_up._asdict()
            body["stages"] = [
                {"name": stage.name, "state": stage.state, "seconds": round(stage.seconds, 3), "detail": stage.detail}
                for stage in self.boot.stages
            ]
        return json.dumps(body, default=_timestamp, ensure_ascii=False).encode()


def _timestamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def probe() -> int:
    """Prints the service's status and reason in one line; 0 is healthy, 1 anything else, no answer included."""
    import http.client
    import signal

    host = os.environ.get("HOST", "").strip() or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = os.environ.get("PORT") or "8000"
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, PROBE_TIMEOUT)
    try:
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/health")
        answer = connection.getresponse()
        body = json.loads(answer.read())
        database = body["database"]
        words = [body["status"], "database " + database["status"], database.get("reason"), database.get("hint")]
        line = ": ".join(word for word in words if word)
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        print(f"no answer: {host}:{port} is not a running service ({type(error).__name__})")
        return 1
    print(line)
    return 0 if answer.status == 200 else 1


def _too_late(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(probe())
