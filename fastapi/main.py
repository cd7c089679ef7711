"""Read this first: the stages of the start in order, the app with its health routes, and the launcher.

`python main.py` runs the service and ends with an exit code that a restart policy understands:
0 stopped by SIGTERM or SIGINT, 69 the database was not usable in time, 70 an unexpected error in a stage,
77 the database keeps refusing us, 78 wrong or missing settings.
`uvicorn main:app` works too, but gives these codes up.
"""

import gc
import os
import signal
import sys

if __name__ == "__main__":  # before the slow imports, so that SIGTERM ends the process with 0 from the first moment on
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    gc.disable()  # imports leave no garbage; looking for it takes a seventh of the start

import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from threading import Thread
from types import FrameType

import uvicorn
from asgi_correlation_id import CorrelationIdMiddleware, correlation_id
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

import probes
from boot import Boot, Stage
from faults import DatabaseUnavailable
from health import Health
from logs import configure_logging
from middleware import AccessLog, is_sane_request_id
from probes import RETRY
from settings import get_settings, wished_log_format

DRAIN_SECONDS = 8  # for requests in flight at a stop; Docker kills after 10

log = logging.getLogger("main")


# The stages, in order. Each returns a line for the log, /health and the page.


def read_settings() -> str:
    settings = get_settings()
    app.title = settings.app_name
    health.details = settings.health_details
    return f"{settings.app_name}, {settings.app_env}, MySQL at {settings.mysql_address}"


def set_up_logging() -> str:
    settings = get_settings()
    configure_logging(settings.log_level, settings.log_format)
    return f"{settings.log_level}, {settings.log_format}"


def add_middleware() -> str:
    app.add_middleware(AccessLog)
    app.add_middleware(CorrelationIdMiddleware, validator=is_sane_request_id)  # added last, so it comes first
    return "request id, access log"


def include_routers() -> str:
    from api import router  # imports SQLAlchemy, which takes longer than all before: the port is open meanwhile

    gc.freeze()  # what is imported stays
    gc.enable()
    app.include_router(router)
    app.router.default = app.router.not_found
    return f"{len(router.routes)} routes in {router.prefix}"


def connect_database() -> str:
    from database import wait_for_db

    return wait_for_db(get_settings(), health, boot)


def start_monitor() -> str:
    from monitor import Monitor

    settings = get_settings()
    Monitor(settings, health, boot.stopping).start()
    return f"database check every {settings.db_check_interval:g} s"


def become_ready() -> str:
    return "all stages done"


boot = Boot(
    Stage("settings", read_settings),
    Stage("logging", set_up_logging),
    Stage("middleware", add_middleware),
    # From here on the port is open and a thread goes on: what is slow or has to wait.
    Stage("routers", include_routers),
    Stage("database", connect_database),
    Stage("background tasks", start_monitor),
    Stage("ready", become_ready),
)
health = Health(boot)


# The app.


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    Thread(target=finish_boot, name="boot", daemon=True).start()
    yield
    boot.stopping.set()


def finish_boot() -> None:
    if not boot.run("routers", "ready"):
        os.kill(os.getpid(), signal.SIGTERM)  # ends the server in order, whoever launched it


app = FastAPI(lifespan=lifespan, routes=probes.router.routes)
app.state.health = health


@app.exception_handler(DatabaseUnavailable)
async def answer_unavailable(_: Request, error: DatabaseUnavailable) -> JSONResponse:
    log.warning("request not served, database: %s", error.fault.reason)
    why = {"reason": error.fault.reason, "hint": error.fault.hint} if health.details else {}
    return JSONResponse({"status": "unavailable", **why}, 503, RETRY)


@app.exception_handler(Exception)
async def answer_mistake(_: Request, __: Exception) -> PlainTextResponse:
    """A mistake in an endpoint: its traceback is in the log, and the request id leads there."""
    return PlainTextResponse("Internal Server Error", 500, {"X-Request-ID": correlation_id.get() or "-"})


async def answer_starting(scope: Scope, receive: Receive, send: Send) -> None:
    """Until the routers are included, a path nobody knows may be known in a moment: 503, not 404."""
    await JSONResponse({"status": "starting"}, 503, RETRY)(scope, receive, send)


app.router.default = answer_starting


# The launcher.


class Server(uvicorn.Server):
    """uvicorn, which tells the stages of a stop at once: a wait for the database ends with it."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        boot.stopping.set()
        self.config.timeout_graceful_shutdown = DRAIN_SECONDS if boot.done else 1
        if not self.should_exit:  # a second Ctrl-C would end uvicorn in disorder, and this takes seconds at most
            super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises OSError where HOST or PORT cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # asyncio sets TCP_NODELAY on no other
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(2048)
    return listener


def main() -> int:
    """Runs the service until it is stopped or cannot go on. Returns the exit code."""
    configure_logging("INFO", wished_log_format())
    if not boot.run("settings", "middleware"):
        return boot.exit_code
    settings = get_settings()
    try:
        listener = listen(settings.host, settings.port)
    except OSError as error:
        log.critical(
            "cannot listen on HOST=%s PORT=%d: %s. Is another program using that port, or is that not an "
            "address of this machine? Exit code %d.",
            settings.host,
            settings.port,
            error.strerror,
            os.EX_CONFIG,
        )
        return os.EX_CONFIG
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    log.info("answering on http://%s:%d (/, /health, /docs)", host, settings.port)
    server = Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)  # uvicorn raises the signal again at its end; here that is harmless
    server.run(sockets=[listener])
    log.info("stopped, exit code %d", boot.exit_code)
    return boot.exit_code


if __name__ == "__main__":
    exit_code = main()
    logging.shutdown()
    os._exit(exit_code)  # not sys.exit: that waits for threads, and one may be stuck in a frozen database
if not boot.run("settings", "middleware"):  # imported, by `uvicorn main:app`
    sys.exit(boot.exit_code)
