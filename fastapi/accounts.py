"""Accounts: who can log in, and `Depends(current_account)` for endpoints that want to know who is asking.

python accounts.py list                   the accounts
python accounts.py create NAME            a new account; --admin makes it an administrator
python accounts.py set-password NAME      a new password, which ends all tokens of that account
"""

import unicodedata
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Depends, Form, HTTPException, Request
from fastapi.security import OAuth2PasswordBearer
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from database import get_db
from faults import Fault, Unavailable
from models import Account
from settings import Settings

if TYPE_CHECKING:
    from service import Service

LOGIN_OFF = Fault("login_off", "Nobody can log in: JWT_SECRET is not set, or still the placeholder of .env.example.")
NOT_LOGGED_IN = {"WWW-Authenticate": "Bearer"}

router = APIRouter(prefix="/api", tags=["accounts"])
bearer = OAuth2PasswordBearer(tokenUrl="api/login")
open_session = asynccontextmanager(get_db)


class LoginForm(BaseModel):
    """The form of OAuth2's password flow. What else belongs to it (grant_type, scope) changes nothing here."""

    username: str = Field(min_length=1, max_length=64)
    password: str = Field(min_length=1, max_length=1024)


class Token(BaseModel):
    """What /docs and other clients of OAuth2 expect."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"


class AccountAnswer(BaseModel):
    """What others may see of an account."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    is_admin: bool


def canonical_name(name: str) -> str:
    """The form in which a name is stored and compared: `Admin` and `admin` are one."""
    return unicodedata.normalize("NFKC", name).strip().casefold()


def find_account(db: Session, name: str) -> Account | None:
    """The account of that name, in any spelling."""
    return db.scalar(select(Account).where(Account.name == canonical_name(name)))


def current_account(
    request: Request, token: Annotated[str, Depends(bearer)], db: Annotated[Session, Depends(get_db)]
) -> Account:
    """Who is asking: `account: Annotated[Account, Depends(current_account)]`. Answers 401 where nobody is."""
    from tokens import InvalidToken, read_token

    settings: Settings = request.app.service.settings
    try:
        claims = read_token(_key(settings), settings.app_name, token)
    except InvalidToken:
        raise HTTPException(401, "Not logged in, or not any more", NOT_LOGGED_IN) from None
    account = db.get(Account, claims.account_id)
    if account is None or account.session_version != claims.session_version:
        raise HTTPException(401, "Not logged in, or not any more", NOT_LOGGED_IN)
    return account


def current_admin(account: Annotated[Account, Depends(current_account)]) -> Account:
    """The same for administrators only. Answers 403 to all others."""
    if not account.is_admin:
        raise HTTPException(403, "For administrators only")
    return account


def _import_libraries() -> None:
    """What only a login needs."""
    import passwords  # noqa: F401
    import throttle  # noqa: F401
    import tokens  # noqa: F401


def _key(settings: Settings) -> str:
    if settings.jwt_key is None:
        raise Unavailable(LOGIN_OFF)
    return settings.jwt_key


@router.post(
    "/login",
    responses={
        401: {"description": "Unknown name or wrong password."},
        429: {"description": "Ten failures in a minute for this name or address."},
        503: {"description": "The database is not usable, or JWT_SECRET is not set."},
    },
)
async def log_in(form: Annotated[LoginForm, Form()], request: Request) -> Token:
    """A token for name and password: it goes into the header `Authorization: Bearer`, for 30 minutes."""
    service: Service = request.app.service
    key = _key(service.settings)
    await run_in_threadpool(_import_libraries)  # which takes long the first time
    from passwords import in_password_thread, is_right
    from throttle import throttle_of
    from tokens import Claims, make_token

    throttle = throttle_of(service)
    name, address = canonical_name(form.username), request.client.host if request.client else ""

    def check(
        account: Account | None,
    ) -> Account:  # beside the hash, so that the rest of a burst of guesses is not tried
        if seconds := throttle.seconds_to_wait(name, address):
            raise HTTPException(429, "Too many failed logins: try again later", {"Retry-After": str(seconds)})
        if not is_right(form.password, account.password_hash if account else None) or account is None:
            throttle.record_failure(name, address)
            raise HTTPException(401, "Unknown name or wrong password", NOT_LOGGED_IN)
        return account

    async with throttle.turns:
        async with open_session(request) as db:  # its connection is given back before the wait for a password thread
            account = await run_in_threadpool(find_account, db, name)
        found = await in_password_thread(lambda: check(account))
    return Token(access_token=make_token(key, service.settings.app_name, Claims(found.id, found.session_version)))


@router.get("/me", responses={401: {"description": "Not logged in."}})
def read_me(account: Annotated[Account, Depends(current_account)]) -> AccountAnswer:
    """Who is asking."""
    return AccountAnswer.model_validate(account)


if __name__ == "__main__":
    from accounts_command import main

    main(__doc__ or "")
