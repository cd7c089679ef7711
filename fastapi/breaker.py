"""The circuit breaker: while the watcher gets no answer, requests fail at once instead of holding a connection."""

import time

from faults import Fault, Unavailable
from health import Component

TRIAL_AFTER = 10  # rejected requests
TRIAL_EVERY = 1.0  # seconds

STARTING = Fault("starting", "The service is still waiting for the database: /health says more.")


class CircuitBreaker:
    """Open while the last check has failed and no statement of a request has succeeded since that check began.

    So one slow check opens nothing on a busy server whose statements get their answers. Half-open: where the reason is
    `timeout`, one of the rejected requests is let through now and then; if its statement succeeds, the breaker closes.
    All other reasons end with the next check, which comes within 0.15 s.
    """

    def __init__(self, component: Component) -> None:
        self._component = component
        self._succeeded_at = 0.0
        self._next_trial_at = 0.0
        self._rejected = 0

    def record_success(self) -> None:
        """A statement of a request was answered."""
        self._succeeded_at = time.monotonic()

    def open_fault(self) -> Fault | None:
        """Why statements are not let through now, or None where they are."""
        snapshot = self._component.snapshot
        if snapshot.status == "up" or self._succeeded_at > self._component.last_check_began:
            return None
        if snapshot.status == "stale":
            return Fault("timeout", snapshot.hint or "")
        return self._component.fault or STARTING

    def let_through(self) -> None:
        """Called before a request uses the database. Raises Unavailable while the breaker is open."""
        fault = self.open_fault()
        if fault is None or (fault.reason == "timeout" and self._is_time_for_a_trial()):
            self._rejected = 0
            return
        self._rejected += 1
        raise Unavailable(fault)

    def _is_time_for_a_trial(self) -> bool:
        now = time.monotonic()
        if self._rejected < TRIAL_AFTER or now < self._next_trial_at:
            return False
        self._next_trial_at = now + TRIAL_EVERY
        return True
