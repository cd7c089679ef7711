"""What a request is answered when something goes wrong: JSON of one form, without a driver's text or a traceback."""

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

from faults import Unavailable
from health_routes import RETRY_AFTER
from logs import request_id
from middleware import SECURITY_HEADERS

NO_THREAD = "can't start new thread"  # Python's words, and the only sign of this shortage

log = logging.getLogger(__name__)


def add_error_handlers(app: FastAPI) -> None:
    """Answers the errors below in the one form. What HTTPException raises keeps FastAPI's `detail`."""
    app.add_exception_handler(Unavailable, handle_unavailable)
    app.add_exception_handler(RequestValidationError, handle_invalid_request)
    app.add_exception_handler(RuntimeError, handle_runtime_error)
    app.add_exception_handler(Exception, handle_unexpected_error)


async def handle_unavailable(request: Request, error: Exception) -> JSONResponse:
    """503: something that was needed cannot be used. The access log names the reason."""
    assert isinstance(error, Unavailable)
    request.scope["reason"] = error.fault.reason
    why = {"reason": error.fault.reason, "hint": error.fault.hint} if request.app.service.health.details else {}
    return JSONResponse({"status": "unavailable", **why}, 503, RETRY_AFTER)


async def handle_invalid_request(_: Request, error: Exception) -> JSONResponse:
    """422: what is wrong, and where; not what was sent, as FastAPI's own answer: it may be a password."""
    assert isinstance(error, RequestValidationError)
    detail = [{key: each[key] for key in ("type", "loc", "msg")} for each in error.errors()]
    return JSONResponse({"detail": detail}, 422)


async def handle_runtime_error(request: Request, error: Exception) -> JSONResponse:
    """503 where the process may not have another thread; any other RuntimeError is a mistake in an endpoint."""
    if str(error) != NO_THREAD:
        raise error
    request.scope["reason"] = "no_thread"
    hint = "This process has no thread left. Compare pids_limit with DB_POOL_SIZE + DB_MAX_OVERFLOW."
    return JSONResponse({"status": "unavailable", "reason": "no_thread", "hint": hint}, 503, RETRY_AFTER)


async def handle_unexpected_error(_: Request, __: Exception) -> JSONResponse:
    """500: a mistake in an endpoint. Its traceback is in the log, under the request id that is answered here."""
    found = request_id.get()
    hint = f"A mistake in the service. Its log has the traceback, under the request id {found}."
    headers = {**SECURITY_HEADERS, "X-Request-ID": found}  # this answer is made in front of the middleware
    return JSONResponse({"status": "error", "reason": "unexpected", "hint": hint}, 500, headers)
