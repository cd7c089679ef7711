"""The package `fastapi-health` with a check per probe: every request of `/health` asks the database.

Fair: it is the package's own example with a SQLAlchemy check. It waits for nothing at its start, and a probe says what
is true at its moment. The check is a sync function, as SQLAlchemy without asyncio needs it.
"""

from common import select_1
from fastapi import FastAPI
from fastapi_health import health
from sqlalchemy.exc import SQLAlchemyError


def database_answers() -> bool:
    try:
        select_1()
    except SQLAlchemyError:
        return False
    return True


app = FastAPI()
app.add_api_route("/health", health([database_answers]))
