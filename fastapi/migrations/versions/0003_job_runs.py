"""Create the table job_runs."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Inspector
from sqlalchemy.dialects.mysql import DATETIME

revision = "0003_job_runs"
down_revision = "0002_scheduled_jobs"
oldest_code = "0001_accounts"


def upgrade() -> None:
    time = DATETIME(fsp=6)
    op.create_table(
        "job_runs",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("job_id", sa.Integer(), sa.ForeignKey("scheduled_jobs.id", name="job_runs_job_id"), nullable=False),
        sa.Column("scheduled_for", time, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("owner", sa.String(128)),
        sa.Column("started_at", time),
        sa.Column("finished_at", time),
        sa.Column("error", sa.String(255)),
        sa.UniqueConstraint("job_id", "scheduled_for", name="one_run_a_moment"),
    )


def is_applied(schema: Inspector) -> bool:
    return schema.has_table("job_runs")


def downgrade() -> None:
    op.drop_table("job_runs")
