"""The server: the listening socket, uvicorn, and what SIGTERM and SIGINT do."""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from app import App
from boot import StartupError
from logs import configure_logging
from settings import early_log_format

DRAIN_SECONDS = 8  # for requests in flight at a shutdown; Docker kills after 10

log = logging.getLogger(__name__)


def serve(app: App) -> int:
    """Runs the service until it is stopped or cannot go on. Returns the exit code."""
    configure_logging("INFO", early_log_format())
    service = app.service
    service.own_port = True
    if not app.prepare():
        return service.boot.exit_code
    Server(app).run(sockets=[service.listener])
    log.info("stopped, exit code %d", service.boot.exit_code)
    return service.boot.exit_code


def listen(host: str, port: int) -> socket.socket:
    """The listening socket. Raises StartupError with 78 where HOST or PORT cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio switches Nagle's algorithm off only where it is: without that, each answer
    # on a connection that stays open would wait 40 ms for the client's acknowledgement.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        raise StartupError(
            f"cannot listen on HOST={host} PORT={port}: {error.strerror}. Is another program using that port, or is "
            "that not an address of this machine?",
            os.EX_CONFIG,
        ) from None
    return listener


class Server(uvicorn.Server):
    """uvicorn, which tells the stages of a shutdown at once: a wait for the database ends with it."""

    def __init__(self, app: App) -> None:
        # Whom to believe about the client is a setting, TRUSTED_PROXIES; uvicorn itself would believe 127.0.0.1.
        super().__init__(uvicorn.Config(app, log_config=None, access_log=False, proxy_headers=False, lifespan="on"))
        self._boot = app.service.boot

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """In the event loop, not in a signal handler, where a second signal would block on the first one's locks."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_shutdown)
        yield
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)  # the exit code is decided

    def request_shutdown(self) -> None:
        """Begins the shutdown. Asking again changes nothing."""
        self._boot.request_shutdown()
        self.config.timeout_graceful_shutdown = DRAIN_SECONDS if self._boot.done else 1
        self.should_exit = True
