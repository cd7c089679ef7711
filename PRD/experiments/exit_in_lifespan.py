"""An application that asks for exit code 69 inside lifespan: `sys.exit` does not get through."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Chooses an exit code, in vain."""
    sys.exit(69)
    yield


app = FastAPI(lifespan=lifespan)
