"""MySQL's faults: one table from an error of the server or the driver to a reason and a hint for a person."""

import errno
import ssl
from socket import gaierror

from driver import CR, ER, InternalError, OperationalError
from faults import Fault, Reason
from settings import Settings


class NoGreeting(OperationalError):
    """No connection, or one closed before any greeting, by a port proxy or load balancer with no server behind.

    Either way the attempt cost the server nothing.
    """


_HINTS: dict[Reason, str] = {
    "dns_failed": "The name {host} does not resolve. In compose: is MYSQL_HOST the service's name, is that service "
    "running, and do both share a network?",
    "connection_refused": "MySQL is not accepting connections on {address} yet. It is still starting, or it is "
    "stopped: look at its state and its log.",
    "timeout": "{address} accepts the connection but does not answer in time. The server is frozen or overloaded, its "
    "disk is full, or something other than MySQL listens there.",
    "connection_lost": "{address} closed the connection. MySQL is restarting, or something between here and there "
    "closes connections.",
    "too_many_connections": "MySQL has no free connection. Compare its max_connections and the limits of user {user} "
    "with (DB_POOL_SIZE + DB_MAX_OVERFLOW + 1) x replicas.",
    "server_stopping": "MySQL is shutting down. If this is a restart, it will be back by itself.",
    "access_denied": "MySQL refuses user {user} with this password. Check MYSQL_USER and MYSQL_PASSWORD. Was .env "
    "changed after the first start? The data volume keeps the first password.",
    "database_denied": "User {user} may not use database {database}, or it does not exist. Check MYSQL_DATABASE and "
    "the user's grants.",
    "host_not_allowed": "MySQL allows no user from this client's address. Check the host part of the account: "
    "'{user}'@'%' allows any.",
    "host_blocked": "MySQL blocks this client's address after too many broken connections. TRUNCATE TABLE "
    "performance_schema.host_cache (MariaDB: FLUSH HOSTS), and find what opens connections without logging in.",
    "auth_unsupported": "This driver cannot do the login method of user {user}. Are all packages of requirements.txt "
    "installed (cryptography)? Else ALTER USER ... IDENTIFIED WITH caching_sha2_password.",
    "tls_failed": "The TLS connection to {address} cannot be trusted. Check that MYSQL_SSL_CA signed the server's "
    "certificate and that the certificate names {host}.",
    "not_mysql": "What answers on {address} does not speak MySQL's protocol. Check MYSQL_HOST and MYSQL_PORT.",
    "deadlock": "MySQL has ended this transaction because two waited for each other. Ask again; if it happens often, "
    "let all transactions lock their rows in the same order.",
    "lock_timeout": "Another transaction has held a lock that this statement needs for too long. Look for one that is "
    "open and idle: SELECT * FROM information_schema.innodb_trx.",
    "read_only": "MySQL accepts no writes: it is a replica, or an operator has made it read-only. Check MYSQL_HOST.",
    "disk_full": "The disk of MySQL is full. Reads may go on, writes fail or hang until there is room again.",
    "starting": "The service is still starting: /health says more.",
    "pool_exhausted": "No connection came free within DB_POOL_TIMEOUT. Requests hold them for too long: make the slow "
    "statements faster (LOG_LEVEL=DEBUG shows them), or run more replicas. A larger pool helps where MySQL is idle.",
    "unknown": "MySQL or the driver reported {error}. Look this number up in MySQL's error reference.",
}

_NO_TCP_CONNECTION = (
    "{address} does not answer at all, not even to a TCP connection. The machine or container is gone, or a firewall "
    "in between drops the packets."
)

_PERMANENT: set[Reason] = {"access_denied", "database_denied", "host_not_allowed", "auth_unsupported", "tls_failed"}


_REASON_BY_NUMBER: dict[int, Reason] = {
    ER.LOCK_DEADLOCK: "deadlock",
    ER.LOCK_WAIT_TIMEOUT: "lock_timeout",
    ER.DISK_FULL: "disk_full",
    1114: "disk_full",  # ER_RECORD_FILE_FULL
    ER.OPTION_PREVENTS_STATEMENT: "read_only",  # --read-only
    1836: "read_only",  # ER_READ_ONLY_MODE
    ER.CON_COUNT_ERROR: "too_many_connections",
    ER.TOO_MANY_USER_CONNECTIONS: "too_many_connections",
    ER.USER_LIMIT_REACHED: "too_many_connections",
    ER.SERVER_SHUTDOWN: "server_stopping",
    ER.ACCESS_DENIED_ERROR: "access_denied",
    1698: "access_denied",  # ER_ACCESS_DENIED_NO_PASSWORD_ERROR
    1820: "access_denied",  # ER_MUST_CHANGE_PASSWORD
    1862: "access_denied",  # ER_MUST_CHANGE_PASSWORD_LOGIN
    3118: "access_denied",  # ER_ACCOUNT_HAS_BEEN_LOCKED
    3955: "access_denied",  # ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK
    4150: "access_denied",  # ER_USER_IS_BLOCKED of MariaDB: too many wrong passwords
    4151: "access_denied",  # ER_ACCOUNT_HAS_BEEN_LOCKED of MariaDB
    ER.DBACCESS_DENIED_ERROR: "database_denied",
    ER.BAD_DB_ERROR: "database_denied",
    ER.WRONG_DB_NAME: "database_denied",
    ER.HOST_NOT_PRIVILEGED: "host_not_allowed",
    ER.HOST_IS_BLOCKED: "host_blocked",
    ER.NOT_SUPPORTED_AUTH_MODE: "auth_unsupported",
    CR.CR_AUTH_PLUGIN_CANNOT_LOAD: "auth_unsupported",
    CR.CR_AUTH_PLUGIN_ERR: "auth_unsupported",
    CR.CR_SSL_CONNECTION_ERROR: "tls_failed",
    3159: "tls_failed",  # ER_SECURE_TRANSPORT_REQUIRED
    1927: "connection_lost",  # ER_CONNECTION_KILLED of MariaDB
    4031: "connection_lost",  # ER_CLIENT_INTERACTION_TIMEOUT: wait_timeout passed
    9001: "timeout",  # of ProxySQL: no server behind it took a connection in time
}

_REASON_BY_CAUSE: list[tuple[type[BaseException], Reason]] = [  # the first that fits
    (gaierror, "dns_failed"),
    (TimeoutError, "timeout"),
    (ConnectionRefusedError, "connection_refused"),
    (ConnectionError, "connection_lost"),
    (ssl.SSLEOFError, "connection_lost"),
    (ssl.SSLError, "tls_failed"),
]
_LOST = {0, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST}  # 0: PyMySQL's own, used after it closed the connection
_NO_ROUTE = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN}  # the answer while a container is stopped


# What the server may answer to a statement that is right.
_STATE_OF_THE_SERVER = {
    ER.QUERY_INTERRUPTED,
    1047,  # ER_UNKNOWN_COM_ERROR: a Galera node that is not part of its cluster
    1969,  # ER_STATEMENT_TIMEOUT of MariaDB
    3024,  # ER_QUERY_TIMEOUT
    3032,  # ER_SERVER_OFFLINE_MODE
}


def is_about_the_statement(error: BaseException) -> bool:
    """Whether MySQL has answered that the statement is wrong, which no waiting heals: a mistake in an endpoint.

    PyMySQL raises OperationalError for every number that it does not list, an unknown column (1054) included.
    """
    number = error_number(error) or 0
    of_the_server = number >= 1000 and not CR.CR_ERROR_FIRST <= number <= CR.CR_ERROR_LAST
    return of_the_server and number not in _REASON_BY_NUMBER and number not in _STATE_OF_THE_SERVER


def explain(error: BaseException, settings: Settings) -> Fault:
    """What an error of the driver means, in words that name the settings in question."""
    reason, no_greeting = _reason(error), isinstance(error, NoGreeting)
    template = _NO_TCP_CONNECTION if reason == "timeout" and no_greeting else _HINTS[reason]
    hint = template.format(
        host=settings.mysql_host,
        address=settings.mysql_address,
        user=settings.mysql_user,
        database=settings.mysql_database,
        error=f"{type(error).__name__} {error_number(error) or ''}".strip(),
    )
    return Fault(reason, hint, reason in _PERMANENT, reached_server=not no_greeting)


def pool_exhausted() -> Fault:
    """No connection of the pool came free within DB_POOL_TIMEOUT. Only requests meet this, never the watcher."""
    return Fault("pool_exhausted", _HINTS["pool_exhausted"])


def error_number(error: BaseException | None) -> int | None:
    """MySQL's number of the error, the first argument by convention."""
    first = error.args[0] if error and error.args else None
    return first if isinstance(first, int) else None


def _reason(error: BaseException) -> Reason:
    number = error_number(error)
    if number in _REASON_BY_NUMBER:
        return _REASON_BY_NUMBER[number]
    cause = error.__cause__ or error.__context__
    for kind, reason in _REASON_BY_CAUSE:
        if isinstance(cause, kind):
            return reason
    if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
        return "connection_refused"
    if number in _LOST:
        return "connection_lost"
    return "not_mysql" if isinstance(error, InternalError) else "unknown"
