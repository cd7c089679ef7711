"""Clients that ask /api/test for five seconds, each as soon as it has its answer: python clients.py PORT CLIENTS"""

import sys
import threading
import time
from collections import Counter
from http.client import HTTPConnection, HTTPException

port, clients = map(int, sys.argv[1:])
ends_at = time.monotonic() + 5
answers: Counter[int | str] = Counter()


def ask() -> None:
    """One client, which keeps its connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    while time.monotonic() < ends_at:
        try:
            connection.request("GET", "/api/test")
            response = connection.getresponse()
            response.read()
            answers[response.status] += 1
        except (OSError, HTTPException):
            answers["no answer"] += 1
            connection.close()


threads = [threading.Thread(target=ask) for _ in range(clients)]
began = time.monotonic()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
good = answers[200] / (time.monotonic() - began)
others = ", ".join(f"{count} times {what}" for what, count in answers.items() if what != 200)
print(f"{clients} clients: {good:.0f} good answers a second; others: {others or 'none'}")
