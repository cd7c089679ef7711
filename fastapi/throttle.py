"""The throttle of failed logins: ten in a minute for a name, and for an address, whichever is reached first."""

import asyncio
import math
import time
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

if TYPE_CHECKING:
    from service import Service

FAILURES = RateLimitItemPerMinute(10)
AT_ONCE = 4  # logins: two that hash, two that ask the database meanwhile


class LoginThrottle:
    """Counts failures. Both methods may ask the storage, so they belong into a thread.

    `turns` are for logins under way; the others wait in the event loop, where they slow nobody.
    """

    def __init__(self, storage: MemoryStorage) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self._limiter = MovingWindowRateLimiter(storage)

    def seconds_to_wait(self, name: str, address: str) -> int:
        """0 where a login may be tried now."""
        full = [key for key in _keys(name, address) if not self._limiter.test(FAILURES, *key)]
        resets = [self._limiter.get_window_stats(FAILURES, *key).reset_time for key in full]
        return max((max(1, math.ceil(reset - time.time())) for reset in resets), default=0)

    def record_failure(self, name: str, address: str) -> None:
        for key in _keys(name, address):
            self._limiter.hit(FAILURES, *key)


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("login of", name), ("login from", address)


def throttle_of(service: "Service") -> LoginThrottle:
    """The throttle of this service, made by its first login. Failures are counted in memory, a process for itself."""
    if service.login_throttle is None:
        service.login_throttle = LoginThrottle(MemoryStorage())
    return service.login_throttle
