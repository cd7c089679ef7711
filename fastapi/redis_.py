"""Redis, an external service that may be missing: `get_redis` for endpoints, and the stage that watches it.

Importing this module reads no settings and connects to nothing.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi.requests import HTTPConnection
from redis import ConnectionPool, Redis, SSLConnection
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from faults import Fault, Unavailable
from health import Component
from redis_address import RedisAddress
from redis_faults import explain, is_about_the_command, not_usable
from service import Service
from settings import Settings
from wait import Limits, wait_for
from watch import watch

REQUEST_TIMEOUT = 0.5  # seconds that a request waits for a connection, and for each answer
CHECK_TIMEOUT = 1.0
CHECK_INTERVAL = 1.0
FIRST_CHECK = 0.25  # seconds that the start waits for a Redis that is not required


class RedisDependency:
    """Usable means: logged in, and a key written. So a full Redis and a read-only replica are not usable.

    It has one connection of its own, which is tried once.
    """

    def __init__(self, settings: Settings) -> None:
        self._client = Redis(connection_pool=ConnectionPool(**_options(settings, CHECK_TIMEOUT)))
        self._key = f"{settings.app_name}:health"
        self.address = _address(settings).text

    def check(self, seconds: float) -> float:
        """Writes the key. Each answer may take `CHECK_TIMEOUT`. Returns the latency in milliseconds."""
        began = time.perf_counter()
        try:
            self._client.set(self._key, "written by the health check", ex=60)
        except (RedisError, OSError) as error:
            self._client.connection_pool.disconnect()
            raise Unavailable(explain(error, self.address)) from None
        return (time.perf_counter() - began) * 1000


class RequestPool(ConnectionPool):
    """The connections of the requests. It lends none, and fails at once, while Redis is known not to be usable.

    That is so while the watcher says down, and after a request has timed out until the watcher's next check.
    """

    def __init__(self, settings: Settings, component: Component) -> None:
        super().__init__(**_options(settings, REQUEST_TIMEOUT))
        self.address = _address(settings).text
        self._component = component
        self._timed_out_at = 0.0

    def get_connection(self, command_name: str | None = None, *keys: Any, **options: Any) -> Any:
        self.let_through()
        try:
            return super().get_connection(command_name, *keys, **options)
        except RedisError as error:
            raise Unavailable(self.explain(error)) from None

    def let_through(self) -> None:
        """Raises Unavailable where Redis is known not to be usable."""
        if self._component.snapshot.status != "up":
            raise Unavailable(self._component.fault or not_usable("starting", self.address))
        if self._timed_out_at > self._component.last_check_began:
            raise Unavailable(not_usable("timeout", self.address))

    def explain(self, error: Exception) -> Fault:
        fault = explain(error, self.address)
        if fault.reason == "timeout":
            self._timed_out_at = time.monotonic()
        return fault


async def get_redis(connection: HTTPConnection) -> AsyncIterator[Redis]:
    """A client for one request: `redis: Annotated[Redis, Depends(get_redis)]`. Its commands block: for `def` endpoints.

    Raises Unavailable where Redis is not usable or not configured. A wrong command stays what it is, a 500. No command
    is sent twice: the pool replaces a closed connection before it lends it.
    """
    service: Service = connection.app.service
    if service.redis is None:
        raise Unavailable(not_usable("starting" if service.settings.redis_url else "not_configured", ""))
    pool = service.redis
    pool.let_through()
    try:
        yield Redis(connection_pool=pool)
    except RedisError as error:
        if is_about_the_command(error):
            raise
        raise Unavailable(pool.explain(error)) from None


def connect_redis(service: Service) -> str:
    """The stage. Waits for a Redis that is required; one that is not delays the start by a quarter second at most."""
    settings, stopping = service.settings, service.boot.stopping
    component = service.health.add(Component("redis", settings.redis_required))
    service.redis = RequestPool(settings, component)
    dependency = RedisDependency(settings)
    if settings.redis_required:
        limits = Limits(settings.db_wait_timeout, settings.db_wait_max_delay, CHECK_TIMEOUT)
        line = wait_for(dependency, component, service.health, limits)
        watch(dependency, component, stopping, CHECK_INTERVAL, CHECK_TIMEOUT)
        return f"Redis at {dependency.address}: {line}"
    watch(dependency, component, stopping, CHECK_INTERVAL, CHECK_TIMEOUT)
    end = time.monotonic() + FIRST_CHECK
    while component.snapshot.checked_at is None and time.monotonic() < end and not stopping.is_set():
        time.sleep(0.002)
    status, reason = component.snapshot.status, component.snapshot.reason
    return f"Redis at {dependency.address}, not required: {status}{f', {reason}' if reason else ''}"


def _address(settings: Settings) -> RedisAddress:
    assert settings.redis_url
    return RedisAddress.parse(settings.redis_url.get_secret_value())


def _options(settings: Settings, timeout: float) -> dict[str, Any]:
    address = _address(settings)
    tls = {"connection_class": SSLConnection, "ssl_ca_certs": settings.redis_ssl_ca} if address.tls else {}
    return {
        "host": address.host,
        "port": address.port,
        "db": address.database,
        "username": address.username,
        "password": address.password,
        "socket_connect_timeout": timeout,
        "socket_timeout": timeout,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,  # which needs no handshake
        "driver_info": None,
        "decode_responses": True,
        **tls,
    }
