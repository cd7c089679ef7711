"""The commands of accounts.py."""

import argparse
import os
import sys
from collections.abc import Callable
from getpass import getpass

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, ProgrammingError
from sqlalchemy.orm import Session

from accounts import canonical_name, find_account
from boot import Stage, StartupError
from command import run_command
from database import Database, translate_errors
from models import Account
from passwords import hash_password
from service import Service
from wait import keep_trying

SHORTEST = 8  # characters of a password


def show(db: Session) -> str:
    """Prints a line an account."""
    accounts = db.scalars(select(Account).order_by(Account.name)).all()
    for account in accounts:
        print(f"{account.name:32}  {'admin' if account.is_admin else '-':5}  {account.created_at:%Y-%m-%d %H:%M:%S}Z")
    return f"{len(accounts)} in all"


def create(db: Session, name: str, password: str, is_admin: bool) -> str:
    """Adds an account."""
    db.add(Account(name=canonical_name(name), password_hash=hash_password(password), is_admin=is_admin))
    try:
        db.commit()
    except IntegrityError:
        raise StartupError(f"there is an account {canonical_name(name)} already", os.EX_DATAERR) from None
    return f"account {canonical_name(name)} created"


def set_password(db: Session, name: str, password: str) -> str:
    """Changes the password of an account, which ends its tokens."""
    account = find_account(db, name)
    if account is None:
        raise StartupError(f"there is no account {canonical_name(name)}", os.EX_DATAERR)
    account.password_hash = hash_password(password)
    account.session_version += 1
    db.commit()
    return f"password of {account.name} changed, its tokens have ended"


def main(usage: str) -> None:
    """Runs one command and ends the process with its exit code: 65 for a wrong name, else as the service."""
    parser = argparse.ArgumentParser("accounts.py", usage=usage)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    new = commands.add_parser("create")
    new.add_argument("--admin", action="store_true")
    for command in (new, commands.add_parser("set-password")):
        command.add_argument("name", type=_name)
    options = parser.parse_args()
    password = "" if options.command == "list" else ask_for_password()
    steps: dict[str, Callable[[Session], str]] = {
        "list": show,
        "create": lambda db: create(db, options.name, password, options.admin),
        "set-password": lambda db: set_password(db, options.name, password),
    }
    sys.exit(run_command(Stage(options.command, lambda service: _in_session(service, steps[options.command]))))


def _name(name: str) -> str:
    if not 0 < len(canonical_name(name)) <= 64:
        raise argparse.ArgumentTypeError("a name has 1 to 64 characters")
    return name


def ask_for_password() -> str:
    """Twice from a terminal, where nothing is shown; otherwise the first line of the input. Never an argument: ps."""
    if not sys.stdin.isatty():
        password = sys.stdin.readline().removesuffix("\n")
    elif (password := getpass("New password: ")) != getpass("Again: "):
        sys.exit("The two are not the same.")
    if len(password) < SHORTEST:
        sys.exit(f"A password has at least {SHORTEST} characters.")
    return password


def _in_session(service: Service, step: Callable[[Session], str]) -> str:
    settings = service.settings
    database = Database(settings, service.database_component)

    def run() -> str:
        with translate_errors(settings), database.SessionLocal() as db:
            return step(db)

    try:
        return keep_trying(run, service.boot, settings.db_wait_timeout)
    except ProgrammingError:
        raise StartupError("the table accounts is not as this code needs it: python migrate.py check", 65) from None
