"""The table of reasons, for the numbers that no server can be brought to say."""

import errno
import socket
import ssl

import pytest
from pymysql.err import OperationalError

from mysql_faults import NoGreeting, explain, is_about_the_statement
from settings import Settings

REASONS = {
    1053: "server_stopping",
    1129: "host_blocked",
    1047: "unknown",  # Galera: not part of the cluster
    1102: "database_denied",
    1021: "disk_full",
    1114: "disk_full",
    1205: "lock_timeout",
    1213: "deadlock",
    1290: "read_only",
    1836: "read_only",
    1820: "access_denied",
    2059: "auth_unsupported",
    2061: "auth_unsupported",
    3032: "unknown",  # offline mode
    3955: "access_denied",
    3159: "tls_failed",
    4031: "connection_lost",
    4150: "access_denied",
    9001: "timeout",  # ProxySQL
}
SETTINGS = Settings.model_validate(
    {"mysql_host": "mysql", "mysql_database": "app", "mysql_user": "app", "mysql_password": ""}
)


@pytest.mark.prd("WAIT-04", "WHY-05")
@pytest.mark.parametrize(("number", "reason"), REASONS.items())
def test_a_number_has_its_reason(number: int, reason: str) -> None:
    """Each number is about the server, not about the statement; those that only a person can change are permanent."""
    error = OperationalError(number, "")

    fault = explain(error, SETTINGS)

    assert fault.reason == reason
    assert fault.permanent == (reason in {"access_denied", "auth_unsupported", "database_denied", "tls_failed"})
    assert not is_about_the_statement(error)


@pytest.mark.prd("WHY-01")
@pytest.mark.parametrize(
    ("cause", "reason"),
    [
        (OSError(errno.EHOSTUNREACH, ""), "connection_refused"),
        (OSError(errno.ENETUNREACH, ""), "connection_refused"),
        (OSError(errno.EHOSTDOWN, ""), "connection_refused"),
        (ssl.SSLEOFError(8, ""), "connection_lost"),
        (ssl.SSLError(1, ""), "tls_failed"),
        (socket.gaierror(-2, ""), "dns_failed"),
        (ConnectionResetError(104, ""), "connection_lost"),
    ],
)
def test_a_cause_has_its_reason(cause: OSError, reason: str) -> None:
    """What the operating system or TLS has said decides where the driver has one number for all."""
    error = OperationalError(2003, "")
    error.__cause__ = cause

    assert explain(error, SETTINGS).reason == reason


@pytest.mark.prd("WHY-02")
def test_no_answer_to_tcp_is_not_called_a_frozen_server() -> None:
    """A dropped SYN says that nobody is there; a connection that stays silent, that somebody does not answer."""
    dropped, silent = NoGreeting(2003, ""), OperationalError(2013, "")
    dropped.__cause__ = silent.__cause__ = TimeoutError()

    faults = [explain(error, SETTINGS) for error in (dropped, silent)]

    assert [fault.reason for fault in faults] == ["timeout", "timeout"]
    assert "not even to a TCP connection" in faults[0].hint
    assert "accepts the connection but does not answer" in faults[1].hint
