"""The API: a sample. Your endpoints go here."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends
from sqlalchemy import text
from sqlalchemy.orm import Session

from database import get_db

router = APIRouter(prefix="/api", tags=["api"])


@router.get("/")
def read_root() -> dict[str, str]:
    """Answers without the database."""
    return {"status": "ok", "message": "FastAPI is running"}


@router.get("/test", responses={503: {"description": "The database is not usable."}})
def read_test(db: Annotated[Session, Depends(get_db)]) -> dict[str, Any]:
    """Answers after one round trip to the database."""
    return {"status": "ok", "message": "API test endpoint", "database_time": db.scalar(text("SELECT NOW()"))}
