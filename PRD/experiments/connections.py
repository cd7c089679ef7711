"""What 500 probes cost the database server: of this service's /health, and of a check that connects for each probe."""

import time
from urllib.request import urlopen

from pymysql import Connection

from settings import read_settings

s = read_settings()


def connections() -> int:
    """How many connections the server has seen until now; asking costs one more."""
    connection = Connection(host="127.0.0.1", port=s.mysql_port, user=s.mysql_user, password=s.password)
    with connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Connections'")
        return int(cursor.fetchall()[0][1])


def ask_health() -> None:
    """One probe of /health."""
    urlopen("http://127.0.0.1:8000/health").close()


for name, probe in (("/health", ask_health), ("a check that connects", connections)):
    before, began = connections(), time.monotonic()
    for _ in range(500):
        probe()
    seconds = time.monotonic() - began
    print(f"500 probes of {name}: {connections() - before - 1} connections, {seconds:.1f} s")
