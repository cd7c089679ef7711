"""The service: what the stages are given, and what they leave there for those that come after."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from socket import socket
from types import ModuleType
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.middleware import Middleware

from boot import Boot
from health import Component, Health
from request_metrics import RequestMetrics
from settings import Settings

if TYPE_CHECKING:
    from prometheus_client import Metric

    from app import App
    from database import Database
    from redis_ import RequestPool
    from scheduler import Scheduler
    from throttle import LoginThrottle


@dataclass
class Service:
    """One running service. Nothing of it is global, so a process may hold several."""

    boot: Boot
    health: Health
    database_component: Component
    routers: Callable[[], Sequence[APIRouter]]  # called behind the open port, because importing them takes long
    middleware: Sequence[Middleware]  # the outermost first

    app: "App" = field(init=False)
    request_metrics: RequestMetrics = field(default_factory=RequestMetrics)
    metrics_module: ModuleType | None = None  # imported by the first scrape
    # Each yields metrics of its own at a scrape; what it needs of prometheus_client it imports then.
    collectors: "list[Callable[[], Iterable[Metric]]]" = field(default_factory=list)
    own_port: bool = False  # False: who has imported the app, uvicorn for example, has opened a port already
    settings: Settings = field(init=False)  # by the stage "settings", and so on
    listener: socket = field(init=False)
    database: "Database" = field(init=False)
    redis: "RequestPool | None" = None
    scheduler: "Scheduler | None" = None
    closers: list[Callable[[], None]] = field(default_factory=list)  # called in a thread, before the process ends
    login_throttle: "LoginThrottle | None" = None  # made by the first login
    schema_revision: str | None = None
