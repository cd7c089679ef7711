"""Logging: one format for our lines, uvicorn's and SQLAlchemy's, on standard error, flushed line by line."""

import logging
import time
from typing import Literal

from asgi_correlation_id import CorrelationIdFilter


def configure_logging(level: str, form: Literal["text", "json"]) -> None:
    """Sends every log line of this process through one handler: text for people, or a JSON object a line."""
    handler = logging.StreamHandler()
    handler.addFilter(CorrelationIdFilter(default_value="-"))
    handler.setFormatter(_json() if form == "json" else _text())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = name != "uvicorn.access"  # the access log is middleware.py's, with times
    # SQLAlchemy logs an error of the driver with its whole text; the request that meets it is answered and logged here.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    logging.getLogger("asgi_correlation_id").setLevel(logging.ERROR)  # a client's odd request id is not our warning
    logging.getLogger("sqlalchemy.engine").setLevel(logging.INFO if level == "DEBUG" else logging.WARNING)


def _text() -> logging.Formatter:
    formatter = logging.Formatter(
        "%(asctime)s.%(msecs)03dZ %(levelname)-8s %(name)s [%(correlation_id)s] %(message)s", "%Y-%m-%dT%H:%M:%S"
    )
    formatter.converter = time.gmtime
    return formatter


def _json() -> logging.Formatter:
    from pythonjsonlogger.json import JsonFormatter

    return JsonFormatter(
        ["levelname", "name", "message", "correlation_id"],
        rename_fields={"levelname": "level", "name": "logger", "correlation_id": "request_id"},
        timestamp=True,
    )
