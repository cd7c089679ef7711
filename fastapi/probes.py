"""The routes that probes and the page ask, all answered from memory."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from page import PAGE, PAGE_HEADERS

RETRY = {"Retry-After": "1"}
NOT_CACHED = {"Cache-Control": "no-store"}


class ProbeRoute(APIRoute):
    """A route whose endpoint takes the request and returns its Response: what FastAPI does for others is left out."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        return self.endpoint


router = APIRouter(route_class=ProbeRoute, tags=["health"])


@router.head("/health", include_in_schema=False)
@router.get("/health", responses={503: {"description": "Not ready; the body says why."}})
async def read_health(request: Request) -> Response:
    """Ready or not, from memory: never slow, never a query. `async`, so that it waits for no thread."""
    status_code, body = request.app.state.health.report()
    return Response(body, status_code, NOT_CACHED | (RETRY if status_code == 503 else {}), "application/json")


@router.head("/health/live", include_in_schema=False)
@router.get("/health/live")
async def read_liveness(_: Request) -> Response:
    """200 as long as the process can answer. It never asks the database: restarting this process cannot heal that."""
    return Response(b'{"status":"alive"}', 200, NOT_CACHED, "application/json")


@router.head("/health/history", include_in_schema=False)
@router.get("/health/history")
async def read_history(request: Request) -> Response:
    """What the database was like in the last minutes of this process."""
    return Response(request.app.state.health.history(), 200, NOT_CACHED, "application/json")


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def read_page(_: Request) -> Response:
    """The page that shows all this."""
    return Response(PAGE, 200, PAGE_HEADERS, "text/html")
