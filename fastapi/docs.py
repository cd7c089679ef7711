"""/docs and /redoc with the scripts and styles of an installed package: they work where there is no internet."""

from pathlib import Path

import fastapi_offline
from fastapi import FastAPI
from starlette.responses import Response

REDOC = Path(fastapi_offline.__file__).parent / "static" / "redoc.standalone.js"
LOGO = "https://cdn.redoc.ly/redoc/logo-mini.svg"  # which ReDoc loads from its maker's server, or leaves out


def add_docs(app: FastAPI) -> None:
    """Adds both pages and their files to the routes of `app`."""

    @app.get(f"/static-offline-docs/{REDOC.name}", include_in_schema=False)  # comes before the package's own
    def read_redoc() -> Response:
        return Response(REDOC.read_text("utf-8").replace(LOGO, "data:,"), media_type="text/javascript")

    offline = fastapi_offline.FastAPIOffline(title=app.title, openapi_url=app.openapi_url)
    app.router.routes += [route for route in offline.routes if getattr(route, "path", "") != app.openapi_url]
