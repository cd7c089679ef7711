"""Pauses between tries: short where a try costs the server nothing, growing and random where it does."""

from random import uniform

from faults import Fault


def short_pause() -> float:
    """Seconds until the next try after one that cost the server nothing."""
    return uniform(0.05, 0.15)


class Backoff:
    """The pauses of one wait. Exponential with full jitter: a thousand replicas must not trample a server coming up."""

    def __init__(self, max_delay: float) -> None:
        self._max_delay = max_delay
        self._costly = 0

    def pause(self, fault: Fault) -> float:
        """Seconds until the next try after one that ended with `fault`."""
        if fault.cheap:
            return short_pause()
        self._costly += 1
        return uniform(0, min(self._max_delay, 0.1 * 2 ** min(self._costly, 20)))
