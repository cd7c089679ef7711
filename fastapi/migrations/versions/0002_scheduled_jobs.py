"""Create the table scheduled_jobs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Inspector
from sqlalchemy.dialects.mysql import DATETIME

revision = "0002_scheduled_jobs"
down_revision = "0001_accounts"
oldest_code = "0001_accounts"


def upgrade() -> None:
    name, cron = sa.String(64, collation="utf8mb4_bin"), sa.String(255, collation="utf8mb4_bin")
    time = DATETIME(fsp=6)
    op.create_table(
        "scheduled_jobs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", name, nullable=False, unique=True),
        sa.Column("func", name, nullable=False),
        sa.Column("cron", cron, nullable=False),
        sa.Column("timezone", name, server_default="UTC", nullable=False),
        sa.Column("args", sa.JSON(), server_default=sa.text("('[]')"), nullable=False),
        sa.Column("kwargs", sa.JSON(), server_default=sa.text("('{}')"), nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("1"), nullable=False),
        sa.Column("status", sa.String(16), server_default="new", nullable=False),
        sa.Column("reason", sa.String(255)),
        sa.Column("last_run_at", time),
        sa.Column("next_run_at", time),
        sa.Column("planned_by", cron),
        sa.Column("running_for", time),
        sa.Column("lease_until", time),
        sa.Column("version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", time, server_default=sa.func.utc_timestamp(6), nullable=False),
        sa.Column("updated_at", time, server_default=sa.func.utc_timestamp(6), nullable=False),
    )


def is_applied(schema: Inspector) -> bool:
    return schema.has_table("scheduled_jobs")


def downgrade() -> None:
    op.drop_table("scheduled_jobs")
