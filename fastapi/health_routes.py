"""What probes and the page ask, answered from memory. `app.py` calls these in front of all middleware."""

from collections.abc import Awaitable, Callable
from importlib import import_module

import anyio.to_thread
from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

RETRY_AFTER = {"Retry-After": "1"}
NO_STORE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}

router = APIRouter(tags=["health"])


@router.get("/health", responses={503: {"description": "Not ready; the body says why."}})
async def read_health(request: Request) -> Response:
    """Whether the service is ready: 200 or 503. Never slow, and never a query."""
    status_code, body = request.app.service.health.report()
    return Response(body, status_code, NO_STORE | RETRY_AFTER if status_code == 503 else NO_STORE, "application/json")


@router.get("/health/live")
async def read_liveness(_: Request) -> Response:
    """200 as long as the process can answer. It never asks the database: restarting this process cannot heal that."""
    return Response(b'{"status":"alive"}', 200, NO_STORE, "application/json")


@router.get("/health/history")
async def read_history(request: Request) -> Response:
    """What each component was like in the last minutes of this process."""
    return Response(request.app.service.health.history(), 200, NO_STORE, "application/json")


async def read_metrics(request: Request) -> Response:
    """Prometheus text. Its library is imported by the first scrape, in a thread, so that no probe waits for that."""
    service = request.app.service
    if service.metrics_module is None:  # sys.modules would not do: it holds a module that is still being imported, too
        limiter = anyio.CapacityLimiter(1)
        service.metrics_module = await anyio.to_thread.run_sync(import_module, "metrics", limiter=limiter)
    metrics = service.metrics_module
    return Response(metrics.text(service), 200, NO_STORE, metrics.CONTENT_TYPE)


Probe = Callable[[Request], Awaitable[Response]]
PROBES: dict[str, Probe] = {
    "/health": read_health,
    "/health/live": read_liveness,
    "/health/history": read_history,
}


async def answer_probe(request: Request) -> Response:
    """The answer to a request whose path is one of `app.probes`. uvicorn leaves out the body where it is HEAD."""
    if request.method not in {"GET", "HEAD"}:
        return JSONResponse({"detail": "Method Not Allowed"}, 405, {"Allow": "GET, HEAD"})
    probe: Probe = request.app.probes[request.scope["path"]]
    return await probe(request)
