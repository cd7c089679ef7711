"""A network between the service and its database that can be broken in every way that has been seen to matter."""

import socket
import struct
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

from ports import free_port

REASONS = {  # each fault, and what the service has to call it
    "refuse": "connection_refused",
    "silent": "timeout",
    "greet_then_silent": "timeout",
    "stall_tls": "timeout",
    "drip": "timeout",
    "http": "not_mysql",
    "close": "connection_lost",
    "reset": "connection_lost",
}
GARBAGE = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
SSL_REQUEST = 36  # bytes that a client sends before TLS begins: a header of 4 and a packet of 32


class Proxy:
    """A TCP proxy on 127.0.0.1. `fault` holds for new connections; `break_with` ends or stalls the open ones, too."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.fault: str | None = None
        self.accepted = 0
        self._generation = 0  # a connection of an earlier one must not outlive a drop, however young it is
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener: socket.socket | None = None

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._unlisten()
        self._drop()

    def break_with(self, fault: str) -> None:
        """From now on every connection, open or new, meets `fault`."""
        self.fault = fault
        if fault == "refuse":
            self._unlisten()
        self._drop(reset=fault == "reset")

    def heal(self) -> None:
        self.fault = None
        self._drop()
        if not self._listener:
            self._listen()

    def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        threading.Thread(target=self._accept, args=[self._listener], daemon=True).start()

    def _unlisten(self) -> None:
        if self._listener:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def _drop(self, reset: bool = False) -> None:
        with self._lock:
            self._generation += 1
            victims, self._open = self._open, set()
        for victim in victims:
            _close(victim, reset)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._serve, args=[client, self.fault, self._generation], daemon=True).start()

    def _serve(self, client: socket.socket, fault: str | None, generation: int) -> None:
        if fault in ("close", "reset", "refuse"):
            return _close(client, reset=fault == "reset")
        if not self._keep(client, generation):
            return None
        if fault == "http":
            with suppress(OSError):
                client.sendall(GARBAGE)
        if fault in ("silent", "http"):
            return self._wait_for_end(client)
        try:
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            return self._forget(client)
        if not self._keep(server, generation):
            return self._forget(client)
        up = {"greet_then_silent": 0, "stall_tls": SSL_REQUEST}.get(fault or "")
        threading.Thread(target=self._pump, args=[client, server, up, False], daemon=True).start()
        self._pump(server, client, None, fault == "drip")
        return None

    def _keep(self, end: socket.socket, generation: int) -> bool:
        """Remembers `end` for the next drop. False: that has been already, and `end` is closed."""
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a network holds back no small packet for 40 ms
        with self._lock:
            if generation == self._generation:
                self._open.add(end)
                return True
        _close(end)
        return False

    def _pump(self, source: socket.socket, target: socket.socket, limit: int | None, drip: bool) -> None:
        """Forwards until an end closes; after `limit` bytes swallows the rest; or one byte every 0.3 s."""
        passed = 0
        with suppress(OSError):
            while data := source.recv(1 if drip else 65536):
                if limit is None or passed < limit:
                    target.sendall(data)
                passed += len(data)
                if drip:
                    threading.Event().wait(0.3)
        self._forget(source)
        self._forget(target)

    def _wait_for_end(self, client: socket.socket) -> None:
        with suppress(OSError):
            while client.recv(65536):
                pass
        self._forget(client)

    def _forget(self, end: socket.socket) -> None:
        with self._lock:
            self._open.discard(end)
        _close(end)


def _close(end: socket.socket, reset: bool = False) -> None:
    if reset:
        with suppress(OSError):
            end.shutdown(socket.SHUT_RD)  # wakes the thread that reads it: only then does the close reset
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()
        return
    with suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
    end.close()
