"""/docs and /redoc with the scripts and styles of an installed package: they work where there is no internet."""

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline


def add_docs(app: FastAPI) -> None:
    """Adds both pages and their files to the routes of `app`."""
    offline = FastAPIOffline(title=app.title, openapi_url=app.openapi_url)
    app.router.routes += [route for route in offline.routes if getattr(route, "path", "") != app.openapi_url]
