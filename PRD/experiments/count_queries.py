"""How many queries the database server has seen for a hundred requests to /health, and for a hundred to /api/test."""

from urllib.request import urlopen

from pymysql import Connection

from settings import read_settings

s = read_settings()


def queries() -> int:
    """The server's own counter."""
    server = Connection(host=s.mysql_host, port=s.mysql_port, user=s.mysql_user, password=s.password)
    with server, server.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
        return int(cursor.fetchall()[0][1])


for path in ("/health", "/api/test"):
    before = queries()
    for _ in range(100):
        urlopen(f"http://127.0.0.1:8000{path}").close()
    print(f"100 requests to {path} made {queries() - before} queries")
