"""A fleet of 50 waiting processes, simulated: how often it logs in to a server in the first 10 s of that server.

Simulated, because 50 real processes would measure this machine's two cores. The pauses of the service are its own
code (`wait.py`); the clock is not real. Such a server answers but does not let anyone in yet (its connections are
used up, or its accounts are still being made), so each try costs it a login.
"""

import heapq
import random
from collections import Counter
from collections.abc import Callable

import measure  # noqa: F401  it makes the service's modules importable

from faults import Fault
from wait import Backoff

PROCESSES, WAITED, SECONDS, LOGIN = 50, 5.0, 10.0, 0.01
REFUSED = Fault("connection_refused", "", reached_server=False)
TURNED_AWAY = Fault("too_many_connections", "")
Pause = Callable[[Fault], float]


class WithoutJitter:
    """The same growth of the pauses, without anything random."""

    def __init__(self) -> None:
        self._tries = 0

    def pause(self, fault: Fault) -> float:
        if not fault.reached_server:
            return 0.1
        self._tries += 1
        return min(1.0, 0.1 * 2.0**self._tries)


WAYS: dict[str, Callable[[], Pause]] = {
    "service": lambda: Backoff(1.0).pause,
    "service without jitter": lambda: WithoutJitter().pause,
    "prestart": lambda: lambda _: 1.0,
    "tutorial": lambda: lambda _: 2.0,
}


def simulate(way: str) -> tuple[int, int, int]:
    """Logins in the first 10 s, the most in a tenth of a second, and the same after the first second.

    All processes start within 0.05 s, as after a power cut.
    """
    tries = [(random.uniform(0, 0.05), number, WAYS[way]()) for number in range(PROCESSES)]
    heapq.heapify(tries)
    logins: list[float] = []
    while tries[0][0] < WAITED + SECONDS:
        now, number, pause = heapq.heappop(tries)
        up = now >= WAITED
        if up:
            logins.append(now)
        again = now + LOGIN * up + pause(TURNED_AWAY if up else REFUSED)
        heapq.heappush(tries, (again, number, pause))
    later = [moment for moment in logins if moment > WAITED + 1]
    return len(logins), _most(logins), _most(later)


def _most(moments: list[float]) -> int:
    return max(Counter(int(moment * 10) for moment in moments).values())
