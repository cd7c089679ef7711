"""/health/jobs: what the page shows of the jobs. The table is read by the scheduler, and only while somebody looks."""

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from fastapi import Request
from sqlalchemy import Row
from starlette.responses import Response

from health import to_json
from health_routes import NO_STORE

SHOWN = 8  # jobs
READ_EVERY = 1.0  # seconds
INTEREST = 5.0  # seconds after a question, in which the next one is expected


class JobOverview:
    """The next runs and the last ones, as the table has them; so they are those of all replicas."""

    def __init__(self) -> None:
        self._asked_at = self._read_at = -INTEREST
        self._body: dict[str, Any] = {"jobs": [], "total": 0}

    @property
    def is_due(self) -> bool:
        now = time.monotonic()
        return now - self._asked_at < INTEREST and now - self._read_at >= READ_EVERY

    def publish(self, rows: Sequence[Row[Any]]) -> None:
        self._read_at = time.monotonic()
        self._body = {"jobs": [_shown(row) for row in rows], "total": rows[0].total if rows else 0}

    async def answer(self, _: Request) -> Response:
        """A probe of `app.probes`: never a query, so what it says is up to a second old. The first answer is empty."""
        self._asked_at = time.monotonic()
        return Response(to_json(self._body), 200, NO_STORE, "application/json")


def _shown(row: Row[Any]) -> dict[str, Any]:
    status = "running" if row.running_for else row.status if row.enabled else "off"
    return {
        "name": row.name,
        "status": status,
        "reason": row.reason if status == "invalid" else None,
        "last_state": row.state,
        "last_at": _utc(row.since),
        "next_at": _utc(row.next_run_at),
    }


def _utc(moment: datetime | None) -> datetime | None:
    return moment and moment.replace(tzinfo=UTC)  # the columns hold naive UTC
