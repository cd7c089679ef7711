"""Passwords: hashed with argon2id, by a few threads that do nothing else.

A hash needs 19 MiB and a core for some 30 ms. Any number of logins at once therefore costs two of them, and waits.
The worker threads of the requests never hash: each would keep its 19 MiB.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

PARALLEL = 2
# Of nobody's password: an unknown name must take as long as a wrong password.
NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$MRctfdy280LemBoK1xVYZg$RrwtyF5ncjN5YybToLmwV+nORu4fMD0TkSmRp2DFc8w"

T = TypeVar("T")


def _yield_to_others() -> None:
    """A hash keeps a core busy: whoever answers requests and probes goes first. Linux has a priority a thread."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, 0, 10)


_threads = ThreadPoolExecutor(PARALLEL, thread_name_prefix="password", initializer=_yield_to_others)


@lru_cache
def _hasher() -> PasswordHash:
    return PasswordHash([Argon2Hasher(memory_cost=19 * 1024, time_cost=2, parallelism=1)])  # OWASP's minimum


def hash_password(password: str) -> str:
    """The hash to store, made in one of the threads."""
    return _threads.submit(_hasher().hash, password).result()


def is_right(password: str, password_hash: str | None) -> bool:
    """Whether the hash, None for an unknown name, is of this password. For `in_password_thread`."""
    return _hasher().verify(password, password_hash or NOBODY) and password_hash is not None


async def in_password_thread(work: Callable[[], T]) -> T:
    """Runs `work`, which may hash once, in one of the threads, and waits for it without holding another."""
    return await asyncio.get_running_loop().run_in_executor(_threads, work)
