"""watch: one thread that checks a dependency for everybody, outlives any error, and spares a server that closes."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest
from database_server import DatabaseServer, settings_for
from fake_mysql import OK, fake_mysql

from faults import Fault, Unavailable
from health import Component
from mysql import MySQL
from watch import watch

REFUSED = Fault("connection_refused", "Nothing listens.", reached_server=False)
FROZEN = Fault("timeout", "It is frozen.")


class Scripted:
    """A dependency whose checks end as a list says; the last entry holds for ever."""

    address = "scripted:1"

    def __init__(self, *results: float | Exception) -> None:
        self._results = list(results)
        self.checks = 0

    def check(self, seconds: float) -> float:
        self.checks += 1
        result = self._results.pop(0) if len(self._results) > 1 else self._results[0]
        if isinstance(result, Exception):
            raise result
        return result


@pytest.fixture
def stopping() -> Iterator[threading.Event]:
    """Ends the watch after the test."""
    event = threading.Event()
    yield event
    event.set()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def changes(component: Component) -> list[str]:
    return [change["status"] for change in component.history()["changes"]]


@pytest.mark.prd("HEALTH-02")
def test_any_error_is_an_outage_that_ends(stopping: threading.Event) -> None:
    """Even an error that no table foresees is an outage, and not the end of the watch."""
    component = Component("scripted")
    dependency = Scripted(1.0, Unavailable(FROZEN), OSError(24, "Too many open files"), RuntimeError(), 1.0)

    watch(dependency, component, stopping, interval=0.1, check_timeout=1)
    until(lambda: changes(component) == ["waiting", "up", "down", "up"])

    assert component.snapshot.attempts == 4


@pytest.mark.prd("HEALTH-02")
def test_what_never_reached_the_server_is_tried_again_at_once(stopping: threading.Event) -> None:
    """Between two refusals there is a short pause, however long the interval of the checks is."""
    component = Component("scripted")
    dependency = Scripted(Unavailable(REFUSED))

    watch(dependency, component, stopping, interval=600, check_timeout=1)
    until(lambda: dependency.checks >= 5)

    assert component.snapshot.reason == "connection_refused"


@pytest.mark.prd("HEALTH-03")
def test_what_reached_the_server_is_asked_after_the_interval(stopping: threading.Event) -> None:
    """A server that answers too late is not asked again before the interval is over."""
    component = Component("scripted")
    dependency = Scripted(Unavailable(FROZEN))

    watch(dependency, component, stopping, interval=600, check_timeout=1)
    until(lambda: component.snapshot.status == "down")
    time.sleep(0.5)  # more than three of the short pauses

    assert dependency.checks == 1


@pytest.mark.prd("LOG-04")
def test_a_long_outage_is_reminded_of(
    stopping: threading.Event, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outage that lasts is a line at its beginning, one a minute with its reason, and one at its end."""
    monkeypatch.setattr("watch.REMIND_EVERY", 0.5)
    component = Component("scripted")
    dependency = Scripted(1.0, *[Unavailable(REFUSED)] * 8, 1.0)

    watch(dependency, component, stopping, interval=0.1, check_timeout=1)
    until(lambda: changes(component) == ["waiting", "up", "down", "up"])
    lines = [record.getMessage() for record in caplog.records]

    assert lines[0].startswith("scripted down: connection_refused. Nothing listens.")
    assert 1 <= sum("scripted still down since" in line for line in lines) < 8


@pytest.mark.prd("HEALTH-04")
def test_a_server_that_closes_every_connection_is_spared(server: DatabaseServer, stopping: threading.Event) -> None:
    """A server that closes each connection as soon as it has answered is not asked for the next one at once."""
    began = time.monotonic()

    with fake_mysql(answer=OK) as fake:
        mysql = MySQL(settings_for(server, mysql_port=fake.port))
        watch(mysql, Component("database"), stopping, 1, 2, pause=mysql.wait_for_close)
        until(lambda: fake.logins >= 10)
        stopping.set()
        until(lambda: "watch database" not in {thread.name for thread in threading.enumerate()})
        mysql.close()

    assert time.monotonic() - began >= 9 * 0.05
