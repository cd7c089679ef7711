"""Faults: why something that the service depends on cannot be used, in words that are safe to show."""

from dataclasses import dataclass
from typing import Literal, Protocol

Reason = Literal[
    "dns_failed",
    "connection_refused",
    "timeout",
    "connection_lost",
    "too_many_connections",
    "server_stopping",
    "access_denied",
    "database_denied",
    "host_not_allowed",
    "host_blocked",
    "auth_unsupported",
    "tls_failed",
    "not_mysql",
    "not_redis",
    "deadlock",
    "lock_timeout",
    "read_only",
    "disk_full",
    "out_of_memory",
    "loading",
    "not_configured",
    "pool_exhausted",
    "starting",
    "login_off",
    "unknown",
]


@dataclass(frozen=True)
class Fault:
    """`hint` names cause and fix and never holds a driver's own text.

    `permanent`: waiting does not help, a person has to change something.
    `reached_server`: the attempt cost the server something, so the next one must not come at once.
    """

    reason: Reason
    hint: str
    permanent: bool = False
    reached_server: bool = True


class Unavailable(Exception):
    """Something that was needed cannot be used, because of `fault`. A request that meets it is answered with 503."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


class Dependency(Protocol):
    """What `wait_for` and `watch` can take care of."""

    @property
    def address(self) -> str: ...

    def check(self, seconds: float) -> float:
        """Whether it is usable, decided within `seconds`. Returns the latency in milliseconds. Raises Unavailable."""
