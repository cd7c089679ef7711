"""A server that speaks just enough of MySQL's protocol to do, after a good login, what no real server would."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

GREETING = b"\x0a8.0\0\1\0\0\0" + b"12345678\0" + b"\xff\xf7\x2d\2\0\0\0\x15" + bytes(10) + b"123456789012\0"  # no TLS
OK = b"\0\0\0\2\0\0\0"


@dataclass
class Fake:
    """Where it listens, and how many have logged in."""

    port: int
    logins: int = 0


@contextmanager
def fake_mysql(answer: bytes) -> Iterator[Fake]:
    """Says OK to everything but `SELECT 1`: to that it says `answer`, and closes the connection."""

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(_packet(GREETING, 0))
            while data := client.recv(65536):
                asked = b"SELECT 1" in data
                fake.logins += asked
                client.sendall(_packet(answer if asked else OK, data[3] + 1))
                if asked:
                    return

    def accept() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=serve, args=[client], daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        fake = Fake(listener.getsockname()[1])
        threading.Thread(target=accept, daemon=True).start()
        yield fake
        listener.shutdown(socket.SHUT_RDWR)


def _packet(content: bytes, sequence: int) -> bytes:
    return len(content).to_bytes(3, "little") + bytes([sequence]) + content
