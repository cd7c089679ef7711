"""Redis's faults: one table from an error of the server or the driver to a reason and a hint for a person."""

import ssl
from socket import gaierror

from redis import exceptions

from faults import Fault, Reason

_HINTS: dict[Reason, str] = {
    "dns_failed": "The name in REDIS_URL does not resolve ({address}). In compose: is it the service's name, is that "
    "service running, and do both share a network?",
    "connection_refused": "Redis is not accepting connections on {address}. It is starting or stopped: look at its "
    "state and its log.",
    "timeout": "{address} does not answer in time. Redis is frozen, or one long command (KEYS, a large Lua script) "
    "keeps it busy: SLOWLOG GET. Or a firewall in between drops the packets.",
    "connection_lost": "{address} closed the connection. Redis is restarting, expects TLS (rediss://), or something "
    "between here and there closes connections.",
    "too_many_connections": "Redis has no free connection. Compare its maxclients with the number of its clients: "
    "CLIENT LIST.",
    "access_denied": "Redis refuses this login, or lets it not write the keys of this service. Check user and password "
    "in REDIS_URL, and the user's rules: ACL LIST.",
    "tls_failed": "The TLS connection to {address} cannot be trusted. Check that REDIS_SSL_CA, or a public authority, "
    "signed the server's certificate, that it names the host in REDIS_URL, and that the server speaks TLS at all.",
    "loading": "Redis is reading its data from the disk. It will be usable by itself, later where there is much data.",
    "read_only": "Redis accepts no writes: it is a replica, or its own replicas are missing. REDIS_URL has to name the "
    "primary.",
    "out_of_memory": "Redis has used up its maxmemory and evicts nothing. Raise maxmemory, let keys expire, or set "
    "maxmemory-policy allkeys-lru.",
    "disk_full": "Redis cannot save its data and therefore accepts no writes. Look at its log and at its disk.",
    "not_redis": "What answers on {address} does not speak Redis's protocol. Check host and port in REDIS_URL.",
    "starting": "Redis has not been asked yet: /health says more.",
    "not_configured": "This needs Redis, and REDIS_URL is not set.",
    "unknown": "Redis or the driver reported {error}.",
}

_PERMANENT: set[Reason] = {"access_denied", "tls_failed"}
_COSTS_NOTHING: set[Reason] = {"dns_failed", "connection_refused"}

_REASON_BY_CLASS: list[tuple[type[Exception], Reason]] = [  # the first that fits
    (exceptions.BusyLoadingError, "loading"),
    (exceptions.AuthenticationError, "access_denied"),
    (exceptions.AuthenticationWrongNumberOfArgsError, "access_denied"),
    (exceptions.NoPermissionError, "access_denied"),
    (exceptions.OutOfMemoryError, "out_of_memory"),
    (exceptions.ReadOnlyError, "read_only"),
    (exceptions.MasterDownError, "read_only"),
    (exceptions.TimeoutError, "timeout"),
    (exceptions.InvalidResponse, "not_redis"),
]
_REASON_BY_CAUSE: list[tuple[type[BaseException], Reason]] = [
    (gaierror, "dns_failed"),
    (ConnectionRefusedError, "connection_refused"),
    (ssl.SSLEOFError, "connection_lost"),
    (ssl.SSLError, "tls_failed"),
]
_REASON_BY_WORD: dict[str, Reason] = {  # with which the server's answer begins
    "MISCONF": "disk_full",
    "NOREPLICAS": "read_only",
    "NOAUTH": "access_denied",
    "max": "too_many_connections",
}


def explain(error: BaseException, address: str) -> Fault:
    """What an error of the driver means, in words that name the settings in question."""
    reason = _reason(error)
    hint = _HINTS[reason].format(address=address, error=type(error).__name__)
    return Fault(reason, hint, reason in _PERMANENT, reason not in _COSTS_NOTHING)


def not_usable(reason: Reason, address: str) -> Fault:
    """A fault that no error of the driver has told of."""
    return Fault(reason, _HINTS[reason].format(address=address))


def is_about_the_command(error: BaseException) -> bool:
    """Whether Redis has answered that the command is wrong, which no waiting heals: a mistake in an endpoint."""
    return isinstance(error, exceptions.ResponseError | exceptions.DataError) and _reason(error) == "unknown"


def _reason(error: BaseException) -> Reason:
    word = str(error).split(" ", 1)[0]
    if word in _REASON_BY_WORD:
        return _REASON_BY_WORD[word]
    for kind, reason in _REASON_BY_CLASS:
        if isinstance(error, kind):
            return reason
    cause = error.__cause__ or error.__context__
    for cause_kind, reason in _REASON_BY_CAUSE:
        if isinstance(cause, cause_kind):
            return reason
    return "connection_lost" if isinstance(error, exceptions.ConnectionError | OSError) else "unknown"
