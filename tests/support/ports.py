"""Free ports, outside the range from which the system takes ports for outgoing connections."""

import os
import random
import socket

# Each worker of pytest-xdist has ports of its own: between the choice of a port and its use, another could choose it.
PORTS = range(10_240, 32_000)
WORKERS = 8
WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS


def free_port() -> int:
    """A port on which nothing listens."""
    while True:
        port = random.choice(PORTS[WORKER::WORKERS])
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
