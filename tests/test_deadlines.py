"""Deadlines: one thread calls what is due, in the order of time, and nothing that was cancelled."""

import threading
import time

from deadlines import Deadlines


def test_what_is_due_is_called_in_order_of_time() -> None:
    """A deadline that is set later and comes sooner is called first."""
    called: list[str] = []
    done = threading.Event()
    deadlines = Deadlines()

    deadlines.call_after(0.1, lambda: called.append("later"))
    deadlines.call_after(0.2, done.set)
    deadlines.call_after(0.05, lambda: called.append("sooner"))
    done.wait(20)

    assert called == ["sooner", "later"]


def test_what_is_cancelled_is_not_called() -> None:
    """A check that ends in time cancels its deadline."""
    called: list[str] = []
    done = threading.Event()
    deadlines = Deadlines()

    number = deadlines.call_after(0.05, lambda: called.append("cancelled"))
    deadlines.cancel(number)
    deadlines.call_after(0.1, done.set)
    done.wait(20)

    assert called == []


def test_one_thread_for_a_thousand_deadlines() -> None:
    """However many deadlines are set at once, one thread keeps them, and each is called."""
    before = threading.active_count()
    deadlines = Deadlines()
    called: list[int] = []

    for number in range(1000):
        deadlines.call_after(0.05, lambda number=number: called.append(number))  # type: ignore[misc]
    threads = threading.active_count() - before
    deadline = time.monotonic() + 20
    while len(called) < 1000 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert threads == 1
    assert sorted(called) == list(range(1000))
