"""Which functions may run as jobs, under which names. No table can name any other code."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from threading import Event
from typing import TypeVar

from sqlalchemy.orm import Session, sessionmaker


@dataclass(frozen=True)
class Run:
    """What each job is given first. `session` makes a session; `stopping` is set when the process is to stop."""

    id: int
    job: str
    scheduled_for: datetime
    session: sessionmaker[Session]
    stopping: Event


@dataclass(frozen=True)
class Function:
    """A registered function, and what may be done with it."""

    call: Callable[..., object]
    cron: str | None
    catch_up: bool
    rerun: bool

    def check(self, args: object, kwargs: object) -> None:
        """Raises ValueError where the function does not take these arguments."""
        if not isinstance(args, list):
            raise ValueError("args: is not a JSON list")
        if not isinstance(kwargs, dict):
            raise ValueError("kwargs: is not a JSON object")
        try:
            inspect.signature(self.call).bind(None, *args, **kwargs)
        except TypeError as error:
            raise ValueError(f"args, kwargs: {error}") from None


FUNCTIONS: dict[str, Function] = {}
Call = TypeVar("Call", bound=Callable[..., object])


def job(cron: str | None = None, catch_up: bool = False, rerun: bool = False) -> Callable[[Call], Call]:
    """Registers a function under its name.

    `cron`: the first start makes a row of that name for it.
    `catch_up`: where it is more than a minute late, because nobody could run it, it runs once nevertheless.
    `rerun`: where its process died or was stopped in its middle, it runs again. Else it is left for the next time.
    """

    def register(function: Call) -> Call:
        FUNCTIONS[function.__name__] = Function(function, cron, catch_up, rerun)
        return function

    return register


def find_function(name: str, args: object, kwargs: object) -> Function:
    """Raises LookupError where this code has no such function, ValueError where it does not take these arguments."""
    if name not in FUNCTIONS:
        raise LookupError(f"func: jobs.py has no {name[:50]!r}, only {', '.join(FUNCTIONS)}")
    function = FUNCTIONS[name]
    function.check(args, kwargs)
    return function
