"""PyMySQL. All modules take it from here, so that the package `cryptography` is imported only by who needs it.

It takes 9 MB and 30 ms. PyMySQL needs it only for a login without TLS, at a server that has not cached the password.
"""

import importlib
import sys
import threading

if "cryptography" in sys.modules:
    import pymysql._auth as _auth
else:
    sys.modules["cryptography"] = None  # type: ignore[assignment]  # to PyMySQL it looks as if it were not installed
    try:
        import pymysql._auth as _auth
    finally:
        del sys.modules["cryptography"]

import pymysql
from pymysql.constants import CLIENT as CLIENT
from pymysql.constants import CR as CR
from pymysql.constants import ER as ER
from pymysql.err import Error as Error
from pymysql.err import InternalError as InternalError
from pymysql.err import OperationalError as OperationalError

BaseConnection = pymysql.Connection
_loading = threading.Lock()


def load_cryptography() -> bool:
    """Whether a login that has failed without the package may succeed now."""
    with _loading:  # another thread may be about it, or have done it since
        if not _has_cryptography():
            importlib.reload(_auth)
        return _has_cryptography()


def _has_cryptography() -> bool:
    return bool(vars(_auth)["_have_cryptography"])
