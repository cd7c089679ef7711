"""The tutorial way of a request that uses the database: SQLAlchemy, `Depends(get_db)` as a generator, pre-ping.

Fair: it is FastAPI's and SQLAlchemy's documentation put together, with a pool as large as the service's, started by
`uvicorn` as everybody starts it, its access log included. `/untyped` has no response model.
"""

from collections.abc import Iterator
from typing import Annotated, Any

from common import url
from fastapi import Depends, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session, sessionmaker

engine = create_engine(url, pool_pre_ping=True, pool_size=10, max_overflow=10, pool_timeout=5)
SessionLocal = sessionmaker(engine)
app = FastAPI()


def get_db() -> Iterator[Session]:
    db = SessionLocal()
    try:
        yield db
    finally:
        db.close()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/api/")
def read_root() -> dict[str, str]:
    return {"status": "ok", "message": "FastAPI is running"}


@app.get("/api/test")
def read_test(db: Annotated[Session, Depends(get_db)]) -> dict[str, Any]:
    return {"status": "ok", "message": "API test endpoint", "database_time": db.scalar(text("SELECT NOW()"))}


@app.get("/untyped", response_model=None)
def read_untyped(db: Annotated[Session, Depends(get_db)]) -> dict[str, Any]:
    return {"database_time": str(db.scalar(text("SELECT NOW()")))}
