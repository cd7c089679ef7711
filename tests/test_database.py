"""Database: the pool replaces old connections, objects outlive their commit, and who waits for a place has an end."""

import asyncio
import time
from collections.abc import Callable, Iterator

import pytest
from database_server import DatabaseServer, settings_for
from sqlalchemy import String, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from database import Database
from faults import Fault, Unavailable
from health import Component

MakeDatabase = Callable[..., Database]


@pytest.fixture
def database(server: DatabaseServer) -> Iterator[MakeDatabase]:
    """Makes a Database whose component is up: `database(db_pool_size=1)` changes settings."""
    made: list[Database] = []

    def make(**changes: object) -> Database:
        component = Component("database")
        component.publish("up", 600)
        made.append(Database(settings_for(server, **changes), component))
        return made[-1]

    yield make
    for each in made:
        each.engine.dispose()


def connection_id(database: Database) -> int:
    with database.engine.connect() as connection:
        return int(connection.scalar(text("SELECT CONNECTION_ID()")) or 0)


@pytest.mark.prd("HEALTH-05")
def test_an_old_connection_is_replaced(database: MakeDatabase) -> None:
    """A connection older than DB_POOL_RECYCLE is not lent again; a younger one is."""
    hasty, patient = database(db_pool_recycle=1), database()
    before = connection_id(hasty), connection_id(patient)
    time.sleep(1.1)

    after = connection_id(hasty), connection_id(patient)

    assert after[0] != before[0]
    assert after[1] == before[1]


class Base(DeclarativeBase):
    """The parent of the model below."""


class Note(Base):
    """A table of this test's own."""

    __tablename__ = "note"
    id: Mapped[int] = mapped_column(primary_key=True)
    words: Mapped[str] = mapped_column(String(50))


@pytest.mark.prd("API-02")
def test_an_object_outlives_its_commit(database: MakeDatabase) -> None:
    """What was committed can still be answered with after the session is closed, without another query."""
    own = database()
    Base.metadata.create_all(own.engine)

    with own.SessionLocal() as session:
        note = Note(words="hello")
        session.add(note)
        session.commit()

    assert note.words == "hello"


@pytest.mark.prd("API-03")
def test_places_are_given_in_order(database: MakeDatabase) -> None:
    """Who waits first is served first, and a place that is left is the next one's."""
    served: list[int] = []

    async def request(own: Database, number: int) -> None:
        async with own.place():
            served.append(number)
            await asyncio.sleep(0)

    async def crowd() -> None:
        own = database(db_pool_size=2, db_max_overflow=0)
        await asyncio.gather(*(request(own, number) for number in range(50)))

    asyncio.run(crowd())

    assert served == list(range(50))


@pytest.mark.prd("API-03")
def test_a_place_that_does_not_come(database: MakeDatabase) -> None:
    """After DB_POOL_TIMEOUT the wait for a place ends, and the place that comes later is not lost."""

    async def crowd() -> str:
        own = database(db_pool_size=1, db_max_overflow=0, db_pool_timeout=0.1)
        async with own.place():
            with pytest.raises(Unavailable) as caught:
                async with own.place():
                    pass
        async with own.place():
            return caught.value.fault.reason

    assert asyncio.run(crowd()) == "pool_exhausted"


@pytest.mark.prd("API-06")
def test_an_outage_reaches_who_waits_for_a_place(database: MakeDatabase) -> None:
    """Who gets a place after the database has gone down is told so, and does not try."""

    async def crowd() -> str:
        own = database(db_pool_size=1, db_max_overflow=0)

        async def late() -> str:
            with pytest.raises(Unavailable) as caught:
                async with own.place():
                    pass
            return caught.value.fault.reason

        async with own.place():
            waiting = asyncio.create_task(late())
            await asyncio.sleep(0)
            own.component.expect_check_within(60)
            own.component.publish("down", 600, Fault("timeout", "It is frozen."))
        return await waiting

    assert asyncio.run(crowd()) == "timeout"


def test_an_update_that_changes_nothing_is_no_conflict(database: MakeDatabase) -> None:
    """Two sessions that set the same value both succeed, as with any other driver of SQLAlchemy."""
    db = database()
    Base.metadata.create_all(db.engine)
    with db.SessionLocal.begin() as session:
        session.add(Note(words="before"))
    with db.SessionLocal() as first, db.SessionLocal() as second:
        notes = [session.scalars(select(Note)).one() for session in (first, second)]

        for session, note in zip((first, second), notes, strict=True):
            note.words = "after"
            session.commit()

        assert notes[1].words == "after"
