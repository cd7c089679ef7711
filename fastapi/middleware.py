"""Middleware: a request id for each request, one line in the access log about it, what the metrics count, headers."""

import asyncio
import logging
import os
import re
import time

from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from health_routes import RETRY_AFTER
from logs import request_id
from queries import Queries, queries_of_request
from request_metrics import RequestMetrics
from settings import Settings

SANE_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")  # what of a client may go into the log as it is
# What an endpoint or the page sets itself stays as it is.
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "frame-ancestors 'none'",
}
_SECURITY = [(name.encode(), value.encode()) for name, value in SECURITY_HEADERS.items()]

log = logging.getLogger("access")


def own_middleware(settings: Settings, metrics: RequestMetrics | None) -> list[Middleware]:
    """The outermost first. What no setting asks for is neither here nor imported."""
    chosen: list[Middleware] = []
    if settings.trusted_proxies:
        from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

        chosen.append(Middleware(ProxyHeadersMiddleware, trusted_hosts=list(settings.trusted_proxies)))
    chosen.append(Middleware(RequestLog, write_lines=settings.access_log, metrics=metrics))
    chosen.append(Middleware(SecurityHeaders))
    if settings.cors_origins:
        from starlette.middleware.cors import CORSMiddleware

        chosen.append(
            Middleware(
                CORSMiddleware,
                allow_origins=settings.cors_origins,
                allow_credentials=settings.cors_credentials,
                allow_methods=["*"],
                allow_headers=["*"],
                expose_headers=["X-Request-ID", "Retry-After"],
            )
        )
    return chosen


class SecurityHeaders:
    """Adds to each answer the headers that keep a browser from guessing, framing and telling where it came from."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                present = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(each for each in _SECURITY if each[0] not in present)]
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestLog:
    """Logs method, path, status, duration and, of a 503, the reason. The query is left out: it may hold secrets.

    Where LOG_LEVEL=DEBUG the line also says how many statements the database was asked, and how long they took.

    The request id is the client's X-Request-ID or a new one; it is in every log line of the request and in the answer.
    A request that a shutdown cuts off is answered here, with 503.
    """

    def __init__(self, app: ASGIApp, write_lines: bool = True, metrics: RequestMetrics | None = None) -> None:
        self._app = app
        self._write_lines = write_lines
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        began, status = time.perf_counter(), 0
        identifier = _request_id(scope)
        request_id.set(identifier)
        if log.isEnabledFor(logging.DEBUG):
            queries_of_request.set(Queries())
        if self._metrics:
            self._metrics.in_progress += 1

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", identifier.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except asyncio.CancelledError:  # by uvicorn, when a shutdown leaves no more time; it would answer 500
            if not status:
                scope["reason"] = "stopping"
                body = {"status": "unavailable", "reason": "stopping", "hint": "The service is stopping: ask again."}
                await JSONResponse(body, 503, RETRY_AFTER)(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - began
            if self._metrics:
                self._metrics.in_progress -= 1
                self._metrics.record(scope, status or 500, seconds)
            if self._write_lines:
                _write(scope, status or 500, seconds)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            if SANE_REQUEST_ID.fullmatch(value):
                return str(value, "ascii")
            break
    return os.urandom(16).hex()


def _write(scope: Scope, status: int, seconds: float) -> None:
    level = logging.INFO if status < 500 else logging.WARNING
    if not log.isEnabledFor(level):
        return
    # The record is made here: Logger.log would look through the stack for a file and a line that no format shows.
    path = scope["raw_path"].decode("ascii", "backslashreplace")  # as sent: no line break can be smuggled into the log
    fields = {"method": scope["method"], "path": path, "status": status, "duration_ms": round(seconds * 1000, 1)}
    line = "%s %s %d %.1f ms"
    if "reason" in scope:
        fields["reason"] = scope["reason"]
        line += " %s"
    if queries := queries_of_request.get():
        fields |= {"queries": queries.number, "queries_ms": round(queries.seconds * 1000, 1)}
        line += " %d query %.1f ms" if queries.number == 1 else " %d queries %.1f ms"
    record = logging.LogRecord(log.name, level, __file__, 0, line, tuple(fields.values()), None)
    record.__dict__.update(fields)
    log.handle(record)
