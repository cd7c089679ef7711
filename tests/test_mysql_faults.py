"""The table of reasons, for the numbers that no server can be brought to say."""

import pytest
from pymysql.err import OperationalError

from mysql_faults import explain, is_about_the_statement
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
}


@pytest.mark.prd("WAIT-04", "WHY-05")
@pytest.mark.parametrize(("number", "reason"), REASONS.items())
def test_a_number_has_its_reason(number: int, reason: str) -> None:
    """Each number is about the server, not about the statement; those that only a person can change are permanent."""
    settings = Settings.model_validate(
        {"mysql_host": "mysql", "mysql_database": "app", "mysql_user": "app", "mysql_password": ""}
    )
    error = OperationalError(number, "")

    fault = explain(error, settings)

    assert fault.reason == reason
    assert fault.permanent == (reason in {"access_denied", "auth_unsupported", "database_denied", "tls_failed"})
    assert not is_about_the_statement(error)
