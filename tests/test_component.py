"""Component and Health: what counts as known, for how long, and how it adds up."""

import json
from collections.abc import Callable
from typing import Literal

import pytest

from boot import Boot, Stage
from faults import Fault
from health import HISTORY_CHANGES, HISTORY_CHECKS, Component, Health

DOWN = Fault("timeout", "It is frozen.")


@pytest.fixture
def boot() -> Boot:
    """A start that is done."""
    boot = Boot([Stage("only", lambda _: "done")])
    boot.run([run.stage for run in boot.runs], None)
    return boot


@pytest.fixture
def tick(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the monotonic clock of health.py."""
    now = 100.0

    def tick(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr("health.time.monotonic", lambda: now)
    return tick


def status(health: Health) -> tuple[int, str]:
    code, body = health.report()
    return code, json.loads(body)["status"]


@pytest.mark.prd("HEALTH-06")
def test_a_stuck_check_is_stale(boot: Boot, tick: Callable[[float], None]) -> None:
    """When the next check is not there by its deadline, the last good one does not count any more."""
    component = Component("database")
    health = Health(boot, component)
    component.publish("up", next_within=3, latency_ms=1)

    seen = []
    for passed in (0, 3.4, 0.2):  # half a second late is what a busy machine may be
        tick(passed)
        seen.append((health.report()[0], component.snapshot.status))

    assert seen == [(200, "up"), (200, "up"), (503, "stale")]


@pytest.mark.prd("HEALTH-06")
def test_a_stale_phase_is_in_the_history(tick: Callable[[float], None]) -> None:
    """The history shows the stale phase while it lasts, and after it has ended."""
    component = Component("database")
    component.publish("up", next_within=1, latency_ms=1)
    tick(5)

    during = [change["status"] for change in component.history()["changes"]]
    component.publish("up", next_within=1, latency_ms=1)
    after = [change["status"] for change in component.history()["changes"]]

    assert during == ["waiting", "up", "stale"]
    assert after == ["waiting", "up", "stale", "up"]


@pytest.mark.prd("HEALTH-01")
def test_a_shutdown_is_not_ready(boot: Boot) -> None:
    """From SIGTERM on /health says `stopping`, whatever the database does."""
    component = Component("database")
    component.publish("up", next_within=3, latency_ms=1)

    boot.request_shutdown()

    assert status(Health(boot, component)) == (503, "stopping")


@pytest.mark.prd("HEALTH-08")
@pytest.mark.parametrize(
    ("required", "optional", "expected"),
    [
        ("up", "up", (200, "ok")),
        ("up", "down", (200, "degraded")),
        ("down", "up", (503, "unavailable")),
        ("down", "down", (503, "unavailable")),
    ],
)
def test_how_components_add_up(
    boot: Boot, required: Literal["up", "down"], optional: Literal["up", "down"], expected: tuple[int, str]
) -> None:
    """What is required decides between ready and not; what is optional, between ok and degraded."""
    first, second = Component("first"), Component("second", required=False)
    first.publish(required, 60, DOWN if required == "down" else None)
    second.publish(optional, 60, DOWN if optional == "down" else None)

    assert status(Health(boot, first, second)) == expected


@pytest.mark.prd("HEALTH-01")
def test_a_new_snapshot_is_a_new_answer(boot: Boot) -> None:
    """An answer is kept only as long as nothing has changed."""
    component = Component("database")
    health = Health(boot, component)

    component.publish("up", 60, latency_ms=1)
    first = health.report()[1]
    component.publish("up", 60, latency_ms=2)

    assert json.loads(first)["database"]["latency_ms"] == 1
    assert json.loads(health.report()[1])["database"]["latency_ms"] == 2


@pytest.mark.prd("WAIT-01")
def test_attempts_count_an_outage() -> None:
    """`attempts` grows with every failed try, says at last what it took, and begins anew with the next outage."""
    component = Component("database")
    seen = []

    statuses: list[Literal["up", "down", "waiting"]] = ["waiting", "waiting", "up", "up", "down", "down", "up"]
    for each in statuses:
        component.publish(each, 1, None if each == "up" else DOWN)
        seen.append(component.snapshot.attempts)

    assert seen == [1, 2, 3, 3, 1, 2, 3]


@pytest.mark.prd("HEALTH-02")
def test_the_length_of_an_outage_is_not_wall_clock(tick: Callable[[float], None]) -> None:
    """How long a status has lasted is counted on the monotonic clock: nobody can set that one back."""
    component = Component("database")
    component.publish("up", 60)
    component.publish("down", 60, DOWN)
    tick(7)

    assert component.publish("down", 60, DOWN) is None
    assert component.publish("up", 60) == 7


@pytest.mark.prd("HEALTH-07")
def test_the_history_has_an_end() -> None:
    """However long the process runs, the history keeps the latest changes and checks, and no more."""
    component = Component("database")

    for number in range(HISTORY_CHECKS + 10):
        component.publish("down", 60, DOWN)
        component.publish("up", 60, latency_ms=number)
    history = component.history()

    assert (len(history["changes"]), len(history["checks"])) == (HISTORY_CHANGES, HISTORY_CHECKS)
    assert history["checks"][-1]["latency_ms"] == HISTORY_CHECKS + 9
