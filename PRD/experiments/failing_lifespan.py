"""An application whose start fails inside lifespan, as where the database is not there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Fails before the application is ready."""
    raise RuntimeError("no database")
    yield


app = FastAPI(lifespan=lifespan)
