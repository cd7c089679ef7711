"""The service: what the stages are given, and what they leave there for those that come after."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from socket import socket
from typing import TYPE_CHECKING

from fastapi import APIRouter
from starlette.middleware import Middleware

from boot import Boot
from health import Component, Health
from settings import Settings

if TYPE_CHECKING:
    from app import App
    from database import Database
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
    own_port: bool = False  # False: who has imported the app, uvicorn for example, has opened a port already
    settings: Settings = field(init=False)  # by the stage "settings", and so on
    listener: socket = field(init=False)
    database: "Database" = field(init=False)
    login_throttle: "LoginThrottle | None" = None  # made by the first login
