"""Seed data: rows that a new database needs. A function here may run at every start, on every replica at once.

Each is given the service and a session, and returns a line about what it did, or raises Skip. It adds what is missing
and changes nothing: a plain INSERT against a unique key, where a duplicate means that another replica was faster.
"""

import os
from collections.abc import Callable

from pymysql.constants import ER
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from accounts import canonical_name, find_account
from boot import Skip, StartupError
from database import translate_errors
from models import Account
from mysql_faults import error_number
from service import Service
from wait import keep_trying


def add_admin(service: Service, db: Session) -> str:
    """The first administrator, of ADMIN_NAME and ADMIN_PASSWORD, who may then change the password."""
    name, password = canonical_name(service.settings.admin_name), service.settings.first_admin_password
    if password is None:
        raise Skip("ADMIN_PASSWORD is not set")
    if find_account(db, name):
        return f"account {name} exists"
    from passwords import hash_password  # where there is something to hash

    db.rollback()  # hashing takes longer than a transaction should
    db.add(Account(name=name, password_hash=hash_password(password), is_admin=True))
    try:
        db.commit()
    except IntegrityError as error:
        if error_number(error.orig) != ER.DUP_ENTRY:
            raise
        return f"account {name} exists, another replica has just made it"
    return f"account {name} created"


SEEDS: list[Callable[[Service, Session], str]] = [add_admin]


def plant(service: Service) -> str:
    """The stage. Raises Skip where no seed had anything to do, and StartupError (65, 69, 77)."""
    done, skipped = [], []
    for seed in SEEDS:
        try:
            done.append(keep_trying(lambda: _run(seed, service), service.boot, service.settings.db_wait_timeout))  # noqa: B023
        except Skip as why:
            skipped.append(str(why))
    if not done:
        raise Skip("; ".join(skipped))
    return "; ".join(done)


def _run(seed: Callable[[Service, Session], str], service: Service) -> str:
    try:
        with translate_errors(service.settings), service.database.SessionLocal() as db:
            return seed(service, db)
    except DBAPIError as error:
        number = error_number(error.orig)
        raise StartupError(
            f"MySQL refuses a statement of {seed.__name__} with error {number}. Has the schema what this code needs, "
            "and may this user write to it? See: python migrate.py check",
            os.EX_DATAERR,
        ) from None
