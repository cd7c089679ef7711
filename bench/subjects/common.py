"""What the everyday subjects share: the address, an engine as tutorials make it, and one round trip over it.

Kinder than most tutorials in one point: the driver gets timeouts, so that a silent server is noticed at all.
"""

import os

from sqlalchemy import URL, create_engine, text

url = URL.create(
    "mysql+pymysql",
    os.environ["MYSQL_USER"],
    os.environ["MYSQL_PASSWORD"],
    os.environ["MYSQL_HOST"],
    int(os.environ["MYSQL_PORT"]),
    os.environ["MYSQL_DATABASE"],
)
engine = create_engine(
    url, pool_pre_ping=True, connect_args={"connect_timeout": 2, "read_timeout": 2, "write_timeout": 2}
)


def select_1() -> None:
    """One round trip to the database. Raises what SQLAlchemy raises."""
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
