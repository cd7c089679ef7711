"""The tables of the service. A change here needs a revision: python migrate.py revision NAME."""

from datetime import datetime

from sqlalchemy import DateTime, String, func
from sqlalchemy.orm import Mapped, mapped_column

from database import Base

__all__ = ["Account", "Base"]


class Account(Base):
    """Somebody who can log in."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(primary_key=True)
    # Compared byte for byte. That Admin and admin are one name is decided in one place, accounts.canonical_name.
    name: Mapped[str] = mapped_column(String(64, collation="utf8mb4_bin"), unique=True)
    password_hash: Mapped[str] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    session_version: Mapped[int] = mapped_column(default=1)  # a new password raises it, which ends all tokens
    created_at: Mapped[datetime] = mapped_column(DateTime, server_default=func.utc_timestamp())
