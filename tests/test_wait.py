"""The pauses of the wait are chosen so that the service is ready a moment after the database, and tramples nobody."""

from statistics import mean

import pytest

from faults import Fault
from wait import Backoff

NOT_REACHED = Fault("connection_refused", "", reached_server=False)
REACHED = Fault("timeout", "")


@pytest.mark.prd("WAIT-02")
@pytest.mark.parametrize("attempts_before", [0, 30, 300])
def test_what_did_not_reach_the_server_is_tried_again_at_once(attempts_before: int) -> None:
    """After 30 seconds of refusals the next try comes as soon as after the first: within 0.15 s."""
    backoff = Backoff(max_delay=1)
    for _ in range(attempts_before):
        backoff.pause(NOT_REACHED)

    pauses = [backoff.pause(NOT_REACHED) for _ in range(200)]

    assert min(pauses) >= 0.05
    assert max(pauses) <= 0.15


@pytest.mark.prd("WAIT-03")
def test_what_reached_the_server_backs_off() -> None:
    """The pauses grow exponentially, are spread over their whole range, and never exceed DB_WAIT_MAX_DELAY."""
    rounds = []
    for _ in range(300):
        backoff = Backoff(max_delay=1)
        rounds.append([backoff.pause(REACHED) for _ in range(30)])

    averages = [mean(column) for column in zip(*rounds, strict=True)]

    assert averages[0] < averages[1] < averages[2] < averages[3]
    assert 0.4 < averages[-1] < 0.6
    assert max(max(row) for row in rounds) <= 1
    assert min(row[-1] for row in rounds) < 0.1


@pytest.mark.prd("WAIT-03")
def test_a_long_outage_does_not_overflow() -> None:
    """Thousands of attempts leave the pause where its limit is."""
    backoff = Backoff(max_delay=3)

    pauses = [backoff.pause(REACHED) for _ in range(5000)]

    assert max(pauses) <= 3
