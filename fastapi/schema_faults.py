"""What an error of the server means while the schema is looked at or changed, in words for a person."""

import os

from sqlalchemy.exc import DBAPIError

from boot import StartupError
from driver import ER
from faults import Unavailable
from mysql_faults import error_number, explain, is_about_the_statement
from settings import Settings

LOCK_WAIT = 10  # seconds that a statement waits for a table in use, and everybody else behind that statement
DENIED = {ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR}
TRY_AGAIN = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
NAMES = {number: name for name, number in vars(ER).items() if isinstance(number, int)}


def explain_schema_error(error: DBAPIError, settings: Settings) -> StartupError | Unavailable:
    """StartupError with 65, 75 or 77, or Unavailable where the server is away. Never holds the server's own text."""
    cause = error.orig or error
    number = error_number(cause) or 0
    user, database = settings.mysql_user, settings.mysql_database
    if number in DENIED:
        return StartupError(
            f"user {user} may not change the schema of {database}. As an administrator: GRANT ALL ON `{database}`.* TO "
            f"'{user}'@'%'. Or set MIGRATIONS=wait, and let another account run: python migrate.py upgrade",
            os.EX_NOPERM,
        )
    if number in TRY_AGAIN:
        return StartupError(
            f"a transaction that stays open has kept a table from being altered for {LOCK_WAIT} s. Nothing was "
            "changed. Find it: SELECT * FROM information_schema.innodb_trx",
            os.EX_TEMPFAIL,
        )
    if error.statement is not None and is_about_the_statement(cause):
        return StartupError(
            f"MySQL refuses a statement with error {number} ({NAMES.get(number, 'see its manual')}). Either the "
            "revision is wrong, or its rows or the schema are not what it expects: compare them (python migrate.py "
            "status). Where what it makes is there already: python migrate.py stamp REVISION",
            os.EX_DATAERR,
        )
    return Unavailable(explain(cause, settings))
