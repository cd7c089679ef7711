"""The circuit breaker: open while nothing answers, closed for a busy server, half-open in between."""

import pytest

from breaker import TRIAL_AFTER, CircuitBreaker
from faults import Fault, Unavailable
from health import Component

FROZEN = Fault("timeout", "It is frozen.")
REFUSED = Fault("connection_refused", "Nothing listens.")


@pytest.fixture
def component() -> Component:
    """A database that has been up."""
    component = Component("database")
    component.publish("up", 60)
    return component


def fail_check(component: Component, fault: Fault) -> None:
    component.expect_check_within(60)
    component.publish("down", 60, fault)


def let_through(breaker: CircuitBreaker) -> bool:
    try:
        breaker.let_through()
    except Unavailable:
        return False
    return True


@pytest.mark.prd("API-06")
@pytest.mark.parametrize("fault", [FROZEN, REFUSED])
def test_open_for_every_reason(component: Component, fault: Fault) -> None:
    """While the last check has failed a request is rejected at once, with the reason that the check has found."""
    breaker = CircuitBreaker(component)
    fail_check(component, fault)

    with pytest.raises(Unavailable) as caught:
        breaker.let_through()

    assert caught.value.fault == fault


@pytest.mark.prd("API-06")
def test_closed_when_the_check_succeeds(component: Component) -> None:
    """The first check that succeeds ends it."""
    breaker = CircuitBreaker(component)
    fail_check(component, FROZEN)
    rejected = not let_through(breaker)

    component.publish("up", 60)

    assert rejected
    assert let_through(breaker)


@pytest.mark.prd("API-06")
def test_a_slow_check_on_a_busy_server_opens_nothing(component: Component) -> None:
    """When statements of requests were answered while the check was not, the server is busy and not gone."""
    breaker = CircuitBreaker(component)

    component.expect_check_within(60)
    breaker.record_success()
    component.publish("down", 60, FROZEN)

    assert let_through(breaker)


@pytest.mark.prd("API-06")
def test_half_open(component: Component) -> None:
    """Now and then one of many requests is let through; when its statement succeeds, all are."""
    breaker = CircuitBreaker(component)
    fail_check(component, FROZEN)

    passed = [let_through(breaker) for _ in range(2 * TRIAL_AFTER + 1)]
    breaker.record_success()

    assert passed == [False] * TRIAL_AFTER + [True] + [False] * TRIAL_AFTER
    assert let_through(breaker)


@pytest.mark.prd("API-06")
def test_before_the_first_check_it_is_open() -> None:
    """A request that comes while the start still waits for the database is told so."""
    breaker = CircuitBreaker(Component("database"))

    with pytest.raises(Unavailable) as caught:
        breaker.let_through()

    assert caught.value.fault.reason == "starting"
