"""A wait with a mistake in it, a misspelled variable: `retry.py everything` retries it, `retry.py named` does not."""

import os
import sys

import pymysql
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

retried = Exception if sys.argv[1] == "everything" else pymysql.Error


@retry(
    retry=retry_if_exception_type(retried),
    stop=stop_after_delay(3),
    wait=wait_fixed(1),
    before_sleep=lambda _: print("database not ready, trying again", flush=True),
)
def connect() -> None:
    """Never comes as far as the database."""
    pymysql.connect(host=os.environ["MYSQL_HOTS"])


connect()
