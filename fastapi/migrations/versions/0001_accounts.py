"""Create the table accounts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Inspector

revision = "0001_accounts"
down_revision = None
oldest_code = revision


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("name", sa.String(64, collation="utf8mb4_bin"), nullable=False, unique=True),
        sa.Column("password_hash", sa.String(255), nullable=False),
        sa.Column("is_admin", sa.Boolean(), nullable=False),
        sa.Column("session_version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), server_default=sa.func.utc_timestamp(), nullable=False),
    )


def is_applied(schema: Inspector) -> bool:
    return schema.has_table("accounts")


def downgrade() -> None:
    op.drop_table("accounts")
