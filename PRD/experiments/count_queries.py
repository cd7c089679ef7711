"""How many queries the database server has seen for a hundred requests to /health, and for a hundred to /api/test."""

from urllib.request import urlopen

from sqlalchemy import text

from database import SessionLocal


def queries() -> int:
    """The server's own counter."""
    with SessionLocal() as db:
        return int(db.execute(text("SHOW GLOBAL STATUS LIKE 'Com_select'")).one()[1])


for path in ("/health", "/api/test"):
    before = queries()
    for _ in range(100):
        urlopen(f"http://127.0.0.1:8000{path}").close()
    print(f"100 requests to {path} made {queries() - before} queries")
