"""The throttle of failed logins: ten in a minute for a name, and for an address, whichever is reached first."""

import asyncio
import math
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from limits import RateLimitItemPerMinute
from limits.errors import StorageError
from limits.storage import MemoryStorage, Storage
from limits.strategies import MovingWindowRateLimiter

from faults import Unavailable

if TYPE_CHECKING:
    from redis_ import RequestPool
    from service import Service

FAILURES = RateLimitItemPerMinute(10)
MANY_KEYS = 1000
AT_ONCE = 4  # logins: two that hash, two that ask the database meanwhile


class LoginThrottle:
    """Counts failures in memory, for this process, and in Redis, for all replicas together, where that is usable.

    Both methods may ask Redis, so they belong into a thread. `turns` are for logins under way; the others wait in the
    event loop, where they slow nobody.
    """

    def __init__(self) -> None:
        self.turns = asyncio.Semaphore(AT_ONCE)
        self._memory = MemoryStorage()
        self._own = MovingWindowRateLimiter(self._memory)
        self.shared: MovingWindowRateLimiter | None = None

    def seconds_to_wait(self, name: str, address: str) -> int:
        """0 where a login may be tried now."""
        if self.shared:
            with suppress(Unavailable, StorageError):
                return _seconds_to_wait(self.shared, name, address)
        return _seconds_to_wait(self._own, name, address)

    def record_failure(self, name: str, address: str) -> None:
        """Memory keeps count, too: it is what is left when Redis goes away."""
        self._forget_old()
        for key in _keys(name, address):
            self._own.hit(FAILURES, *key)
        if self.shared:
            with suppress(Unavailable, StorageError):
                for key in _keys(name, address):
                    self.shared.hit(FAILURES, *key)

    def _forget_old(self) -> None:
        """The storage empties a key whose failures are over, but keeps it: made-up names would fill the memory."""
        if len(self._memory.events) > MANY_KEYS:
            for key in [key for key, failures in self._memory.events.copy().items() if not failures]:
                self._memory.clear(key)


def _seconds_to_wait(limiter: MovingWindowRateLimiter, name: str, address: str) -> int:
    full = [key for key in _keys(name, address) if not limiter.test(FAILURES, *key)]
    resets = [limiter.get_window_stats(FAILURES, *key).reset_time for key in full]
    return max((max(1, math.ceil(reset - time.time())) for reset in resets), default=0)


def _keys(name: str, address: str) -> tuple[tuple[str, str], ...]:
    return ("login of", name), ("login from", address)


def throttle_of(service: "Service") -> LoginThrottle:
    """The throttle of this service, made by its first login, which may come before Redis is known."""
    throttle = service.login_throttle = service.login_throttle or LoginThrottle()
    if service.redis and not throttle.shared:
        throttle.shared = MovingWindowRateLimiter(_in_redis(service.redis, service.settings.app_name))
    return throttle


def _in_redis(pool: "RequestPool", app_name: str) -> Storage:
    from limits.storage import RedisStorage

    # The address is the pool's.
    return RedisStorage("redis://", pool, key_prefix=f"{app_name}:login", wrap_exceptions=True)
