"""Tokens: who has logged in, signed with JWT_SECRET, for 30 minutes."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

import jwt
from jwt.types import Options

ALGORITHM = "HS256"  # the only one that is accepted, whatever a token says of itself
LIFETIME = timedelta(minutes=30)


class InvalidToken(Exception):
    """Not made here, changed since, or too old."""


class Claims(NamedTuple):
    """What a valid token says. A token of an earlier session version ended with a change of the password."""

    account_id: int
    session_version: int


def make_token(key: str, issuer: str, claims: Claims) -> str:
    """A token for whoever has just shown the password."""
    now = datetime.now(UTC)
    payload = {
        "iss": issuer,
        "sub": str(claims.account_id),
        "jti": uuid4().hex,
        "iat": now,
        "exp": now + LIFETIME,
        "session": claims.session_version,
    }
    return jwt.encode(payload, key, ALGORITHM)


def read_token(key: str, issuer: str, token: str) -> Claims:
    """What the token says. Raises InvalidToken."""
    required = ["iss", "sub", "jti", "iat", "exp", "session"]
    try:
        # `iat` is not compared with this clock: that of the replica which made the token may be ahead.
        options: Options = {"require": required, "verify_iat": False}
        payload = jwt.decode(token, key, [ALGORITHM], issuer=issuer, options=options)
        return Claims(int(payload["sub"]), int(payload["session"]))
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise InvalidToken from None
