"""What a request is answered when something goes wrong: JSON of one form, without a driver's text or a traceback."""

import logging
from contextlib import suppress

from fastapi import FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.exceptions import RequestValidationError
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.websockets import WebSocketState

from faults import Unavailable
from health_routes import RETRY_AFTER
from logs import request_id
from middleware import SECURITY_HEADERS

NO_THREAD = "can't start new thread"  # Python's words, and the only sign of this shortage

log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Answers the errors below in the one form. What HTTPException raises keeps FastAPI's `detail`."""
    # For a WebSocket there is no response, which Starlette's types know of handlers for WebSockets alone.
    app.add_exception_handler(Unavailable, handle_unavailable)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, handle_invalid_request)
    app.add_exception_handler(RuntimeError, handle_runtime_error)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, handle_unexpected_error)


async def handle_unavailable(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
    """503: something that was needed cannot be used. The access log names the reason."""
    assert isinstance(error, Unavailable)
    connection.scope["reason"] = error.fault.reason
    why = {"reason": error.fault.reason, "hint": error.fault.hint} if connection.app.service.health.details else {}
    return await _unavailable(connection, why)


async def handle_invalid_request(_: Request, error: Exception) -> JSONResponse:
    """422: what is wrong, and where; not what was sent, as FastAPI's own answer: it may be a password."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, 422)


async def handle_runtime_error(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
    """503 where the process may not have another thread; any other RuntimeError is a mistake in an endpoint."""
    if str(error) != NO_THREAD:
        raise error
    connection.scope["reason"] = "no_thread"
    hint = "This process has no thread left. Compare pids_limit with DB_POOL_SIZE + DB_MAX_OVERFLOW."
    return await _unavailable(connection, {"reason": "no_thread", "hint": hint})


async def _unavailable(connection: HTTPConnection, why: dict[str, str]) -> JSONResponse | None:
    """503. A WebSocket is closed, with the code for "try again later"; before its accept the client sees 403."""
    if isinstance(connection, WebSocket):
        if connection.application_state != WebSocketState.DISCONNECTED:
            with suppress(WebSocketDisconnect):  # the client has gone
                await connection.close(1013)
        return None
    return JSONResponse({"status": "unavailable", **why}, 503, RETRY_AFTER)


async def handle_unexpected_error(_: Request, __: Exception) -> JSONResponse:
    """500: a mistake in an endpoint. Its traceback is in the log, under the request id that is answered here."""
    found = request_id.get()
    hint = f"A mistake in the service. Its log has the traceback, under the request id {found}."
    headers = {**SECURITY_HEADERS, "X-Request-ID": found}  # this answer is made in front of the middleware
    return JSONResponse({"status": "error", "reason": "unexpected", "hint": hint}, 500, headers)
