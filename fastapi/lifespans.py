"""The lifespans of routers that are included while the server is running already."""

import asyncio
import logging
from typing import Any

from fastapi import APIRouter, FastAPI

from boot import class_and_place

log = logging.getLogger(__name__)


class Lifespans:
    """Each lifespan is entered and left in a task of its own, as what it holds may demand."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app
        self._open: list[tuple[asyncio.Task[None], asyncio.Event]] = []

    def start(self, state: dict[str, Any]) -> None:
        """Called in the server's loop. `state` is what each request is given a copy of, as `request.state`."""
        self._loop = asyncio.get_running_loop()
        self._state = state

    def enter(self, router: APIRouter) -> None:
        """Called by the boot thread: returns when the lifespan has begun. Raises what it raises."""
        asyncio.run_coroutine_threadsafe(self._enter(router), self._loop).result()

    async def close(self) -> None:
        """Ends all lifespans, the last one first. What one of them raises is logged."""
        for task, closing in reversed(self._open):
            closing.set()
            await asyncio.wait({task})
            if not task.cancelled() and (error := task.exception()):
                log.error("the end of a router's lifespan: unexpected %s", class_and_place(error))

    async def _enter(self, router: APIRouter) -> None:
        entered, closing = asyncio.Event(), asyncio.Event()
        task = self._loop.create_task(self._hold(router, entered, closing))
        first = self._loop.create_task(entered.wait())
        await asyncio.wait({task, first}, return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        if task.done():
            await task  # raises what kept it from beginning
        self._open.append((task, closing))

    async def _hold(self, router: APIRouter, entered: asyncio.Event, closing: asyncio.Event) -> None:
        async with router.lifespan_context(self._app) as state:
            self._state.update(state or {})
            entered.set()
            await closing.wait()
