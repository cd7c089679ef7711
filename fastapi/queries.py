"""Queries: how many statements a request made, and how long MySQL took. Counted only where LOG_LEVEL=DEBUG."""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any


@dataclass
class Queries:
    """What one request has asked the database so far. `seconds` is the time of what was answered."""

    number: int = 0
    seconds: float = 0.0


queries_of_request: ContextVar[Queries | None] = ContextVar("queries_of_request", default=None)


def before_statement(*arguments: Any) -> None:
    """SQLAlchemy's `before_cursor_execute`. The fifth argument is made for this one statement."""
    arguments[4].began = time.perf_counter()
    if queries := queries_of_request.get():
        queries.number += 1


def after_statement(*arguments: Any) -> None:
    """SQLAlchemy's `after_cursor_execute`, with the same arguments."""
    if queries := queries_of_request.get():
        queries.seconds += time.perf_counter() - arguments[4].began
