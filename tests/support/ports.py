"""Free ports, outside the range from which the system takes ports for outgoing connections."""

import random
import socket


def free_port() -> int:
    """A port on which nothing listens."""
    while True:
        port = random.randrange(10_240, 32_000)
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
