"""For Alembic's own commands, which migrate.py calls with a connection: the service has no alembic.ini."""

from alembic import context

import models
from schema_upgrade import includes

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=models.Base.metadata,
    include_object=includes,
)
with context.begin_transaction():
    context.run_migrations()
