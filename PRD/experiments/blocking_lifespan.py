"""An application whose lifespan waits six seconds, as a retry loop with `time.sleep` does: SIGTERM waits with it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Blocks the event loop, and with it everything that uvicorn would do meanwhile."""
    time.sleep(6)
    yield


app = FastAPI(lifespan=lifespan)
