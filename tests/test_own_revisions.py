"""The service's own revisions: rules that each of them keeps, and the tables that they make."""

import inspect as source

import pytest
import revisions
from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script
from database_server import DatabaseServer, settings_for
from sqlalchemy import event, inspect

from boot import Boot
from schema import Revisions
from schema_upgrade import connect, read_scripts, upgrade

OWN = Revisions()
DDL = ("CREATE", "ALTER", "DROP", "RENAME", "TRUNCATE")


@pytest.mark.prd("MIG-08")
def test_the_line_is_straight() -> None:
    """One first revision, one head, HEAD names it, and ids fit into their column and equal their files' names."""
    scripts = read_scripts(OWN)

    assert [script.down_revision for script in scripts] == [None, *(script.revision for script in scripts[:-1])]
    assert {script.revision for script in scripts} == OWN.known
    assert scripts[-1].revision == OWN.head


@pytest.mark.prd("MIG-08")
@pytest.mark.parametrize("script", read_scripts(OWN), ids=lambda script: script.revision)
def test_each_says_what_the_migrations_ask(script: Script) -> None:
    """Oldest code, a way to see that it was done, and a downgrade or the reason why there is none."""
    assert script.module.oldest_code in OWN.known
    assert callable(script.module.is_applied)
    assert "op." in source.getsource(script.module.downgrade) or script.module.downgrade.__doc__


@pytest.mark.prd("MIG-08")
def test_each_is_one_statement_that_can_be_seen(server: DatabaseServer) -> None:
    """Up and down again: one DDL statement each, and `is_applied` tells before from after."""
    scripts = read_scripts(OWN)
    with connect(settings_for(server)) as connection:
        statements: list[str] = []
        event.listen(connection.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
        context = MigrationContext.configure(connection)

        def ddl_of(script: Script, way: str) -> list[str]:
            statements.clear()
            with Operations.context(context):
                getattr(script.module, way)()
            return [statement for statement in statements if statement.strip().upper().startswith(DDL)]

        for script in scripts:
            assert not script.module.is_applied(inspect(connection)), script.revision
            assert len(ddl_of(script, "upgrade")) <= 1, script.revision
            assert script.module.is_applied(inspect(connection)), script.revision
        for script in reversed(scripts):
            ddl_of(script, "downgrade")
            assert not script.module.is_applied(inspect(connection)), script.revision


@pytest.mark.prd("MIG-08")
def test_models_and_schema_agree(server: DatabaseServer) -> None:
    """After all revisions the schema is what models.py says, by `migrate.py check`."""
    settings = settings_for(server)
    behind = revisions.run(settings, OWN.folder, "check")
    upgrade(settings, Boot([]), OWN)

    same = revisions.run(settings, OWN.folder, "check")
    server.sql("ALTER TABLE app.accounts DROP COLUMN is_admin")
    different = revisions.run(settings, OWN.folder, "check")

    assert behind[0] == 75, behind[1]
    why = 'models.py has what no revision makes: python migrate.py revision "..." (PRD/your-own-code.en.md)'
    assert same[0] == 0, f"{why}\n{same[1]}"
    assert different[0] == 65
    assert "add_column accounts is_admin" in different[1]


@pytest.mark.prd("MIG-03")
@pytest.mark.timeout(300)
def test_they_heal_after_a_kill(server: DatabaseServer) -> None:
    """SIGKILL before and after each statement and commit: the next start brings the schema to head by itself."""
    points = revisions.kill_at_each_point(settings_for(server), OWN.folder)

    assert len(points) > 10
    assert revisions.version(server) == [OWN.head]
