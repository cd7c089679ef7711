"""LAB-11's revision: one statement of about 25 seconds, to be killed in the middle. It goes behind HEAD."""

import time

from alembic import op
from sqlalchemy import Inspector, text

revision = "9999_slow"
down_revision = "HEAD"
oldest_code = down_revision


def upgrade() -> None:
    """Computes, so that the server goes on with it when its client is gone."""
    began = time.monotonic()
    op.get_bind().execute(text("SELECT BENCHMARK(100000, SHA2('x', 512))"))
    rounds = int(100_000 * 25 / (time.monotonic() - began))
    op.execute(f"CREATE TABLE slow AS SELECT BENCHMARK({rounds}, SHA2('x', 512)) AS n")


def is_applied(schema: Inspector) -> bool:
    """Whether the statement was done: asked when a process was killed in it."""
    return schema.has_table("slow")
