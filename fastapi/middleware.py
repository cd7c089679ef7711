"""Middleware: the access log with durations, and which request ids are accepted from outside."""

import asyncio
import logging
import re
import time

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from probes import RETRY

PROBES = {"/health", "/health/live", "/health/history"}
PROBE_LINES = 10  # a second: more failing probes than that would bury the reason, and slow the answers

log = logging.getLogger("access")


class AccessLog:
    """Logs method, path, status and duration. The query is left out, because it may hold secrets.

    Of the probes only those that fail are logged, and of these no more than `PROBE_LINES` a second, then their number.
    A request that a stop cuts off is answered here, with 503.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._failed_probes = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 0

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except asyncio.CancelledError:  # by uvicorn, when a stop leaves no more time; it would answer 500
            if not status:
                await JSONResponse({"status": "stopping"}, 503, RETRY)(scope, receive, watched)
        finally:
            status = status or 500
            if scope["path"] not in PROBES or (status >= 400 and self._may_log_probe()):
                _write(scope, status, (time.perf_counter() - began) * 1000)

    def _may_log_probe(self) -> bool:
        if not self._failed_probes:
            asyncio.get_running_loop().call_later(1, self._end_second)
        self._failed_probes += 1
        return self._failed_probes <= PROBE_LINES

    def _end_second(self) -> None:
        if self._failed_probes > PROBE_LINES:
            log.warning("%d more probes failed within that second", self._failed_probes - PROBE_LINES)
        self._failed_probes = 0


def _write(scope: Scope, status: int, ms: float) -> None:
    level = logging.INFO if status < 500 else logging.WARNING
    path = scope["raw_path"].decode("ascii", "backslashreplace")  # as sent: no line break can be smuggled into the log
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": round(ms, 1)}
    log.log(level, "%s %s %d %.1f ms", *fields.values(), extra=fields)


def is_sane_request_id(value: str) -> bool:
    """Whether a client's X-Request-ID may go into the log and the answer as it is; a bad one is replaced."""
    return re.fullmatch(r"[A-Za-z0-9._-]{1,64}", value) is not None
