"""${message}"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy import Inspector
${imports if imports else ""}
revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
# The oldest code that may run on the schema after this revision; older code ends with 65. Name an earlier revision
# where its code still works: after a new table, or a new column that may be NULL.
oldest_code = revision


def upgrade() -> None:
    # One statement: MySQL does it wholly or not at all, and a kill in between does no harm.
    ${upgrades if upgrades else "..."}


def is_applied(schema: Inspector) -> bool:
    # Whether that statement has been done: asked where a process was killed at this revision. For example:
    # return schema.has_table("orders")
    raise NotImplementedError


def downgrade() -> None:
    ${downgrades if downgrades else "..."}
