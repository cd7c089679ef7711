"""The application: FastAPI whose probes are answered before the middleware, and whose lifespan is the start."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from threading import Thread

from fastapi import APIRouter, FastAPI, Request
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from boot import Stage, class_and_place
from errors import add_error_handlers
from health_routes import PROBES, RETRY_AFTER, answer_probe
from lifespans import Lifespans
from page import read_page
from service import Service

log = logging.getLogger(__name__)


class App(FastAPI):
    """An ordinary FastAPI application. `service` is what belongs to it; endpoints reach it by `request.app.service`."""

    def __init__(self, service: Service, before_port: Iterable[Stage], behind_port: Iterable[Stage]) -> None:
        super().__init__(lifespan=self._lifespan, docs_url=None, redoc_url=None)
        self.service = service
        service.app = self
        self.probes = dict(PROBES)
        self.lifespans = Lifespans(self)
        self.before_port = tuple(before_port)
        self._behind_port = tuple(behind_port)
        self.router.default = answer_starting
        add_error_handlers(self)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Probes come first: no middleware can change, slow down or break them."""
        if scope["type"] == "http" and scope["path"] in self.probes:
            scope["app"] = self
            response = await answer_probe(Request(scope))
            return await response(scope, receive, send)
        if scope["type"] == "lifespan":
            if not self.prepare():
                await receive()
                return await send({"type": "lifespan.startup.failed", "message": "The log says why, above."})
            self.lifespans.start(scope.get("state", {}))
        await super().__call__(scope, receive, send)

    def prepare(self) -> bool:
        """Runs the stages before the port answers, once. False: one has failed."""
        boot = self.service.boot
        return boot.runs[0].state != "pending" or boot.run(self.before_port, self.service)

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        Thread(target=self._finish_boot, name="boot", daemon=True).start()
        yield
        boot = self.service.boot
        boot.request_shutdown()
        while not boot.may_exit():
            await asyncio.sleep(0.05)
        await self.lifespans.close()
        for close in reversed(self.service.closers):
            try:
                await asyncio.to_thread(close)
            except (Exception, SystemExit) as error:  # noqa: BLE001  the others have to be called all the same
                log.error("the end of the service: unexpected %s", class_and_place(error))

    def _finish_boot(self) -> None:
        boot = self.service.boot
        if not boot.run(self._behind_port, self.service) and not boot.stopping.is_set():
            os.kill(os.getpid(), signal.SIGTERM)  # ends the server in order, whoever launched it

    def include_your_routers(self, routers: Iterable[APIRouter]) -> None:
        """Includes routers after the server has started: their own lifespans begin now, and end with the server."""
        for router in routers:
            self.include_router(router)
            self.lifespans.enter(router)


async def answer_starting(scope: Scope, receive: Receive, send: Send) -> None:
    """Until the routers are included: the page, which shows the start, and elsewhere 503, not 404."""
    if scope["type"] == "http" and scope["path"] == "/" and scope["method"] in {"GET", "HEAD"}:
        return await (await read_page())(scope, receive, send)
    if scope["type"] == "http":
        body = {
            "status": "unavailable",
            "reason": "starting",
            "hint": "The service is still starting: /health says more.",
        }
        return await JSONResponse(body, 503, RETRY_AFTER)(scope, receive, send)
    await send({"type": "websocket.close", "code": 1013})  # "try again later"
