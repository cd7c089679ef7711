"""A server that speaks just enough of MySQL's protocol to do, after a good login, what no real server would."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

# Protocol 10, connection 1, no TLS; the two bytes in the middle are capabilities, here plugins for the login.
GREETING = b"\x0a8.0\0\1\0\0\0" + b"12345678\0" + b"\xff\xf7\x2d\2\0%b\x15" + bytes(10) + b"123456789012\0"
WITHOUT_PLUGINS, WITH_PLUGINS = GREETING % b"\0\0", GREETING % b"\x08\0" + b"mysql_native_password\0"
OK = b"\0\0\0\2\0\0\0"


@dataclass
class Fake:
    """Where it listens, and how many have logged in."""

    port: int
    logins: int = 0
    encrypted_password: bytes = b""


@contextmanager
def fake_mysql(answer: bytes, public_key: bytes = b"") -> Iterator[Fake]:
    """Says OK to everything but `SELECT 1`: to that it says `answer`, and closes the connection.

    With a public key (PEM) the login is by caching_sha2_password: the client has to encrypt its password with it.
    """

    def log_in(client: socket.socket) -> None:
        client.recv(65536)
        if public_key:
            client.sendall(_packet(b"\xfecaching_sha2_password\0" + b"12345678901234567890\0", 2))
            client.recv(65536)
            client.sendall(_packet(b"\1\4", 4))  # not cached: the whole password, please
            answer = client.recv(65536)
            if answer[4:] == b"\2":  # it does not have the key yet
                client.sendall(_packet(b"\1" + public_key, 6))
                answer = client.recv(65536)
            if not answer:  # it cannot encrypt
                return
            fake.encrypted_password = answer[4:]
            client.sendall(_packet(OK, answer[3] + 1))
        else:
            client.sendall(_packet(OK, 2))

    def serve(client: socket.socket) -> None:
        with client, suppress(OSError):
            client.sendall(_packet(WITH_PLUGINS if public_key else WITHOUT_PLUGINS, 0))
            log_in(client)
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
