"""The wait at the start for something that the service depends on: with an end, and with pauses that spare it."""

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import uniform
from typing import TypeVar

from tenacity import RetryCallState, RetryError, Retrying, retry_if_exception_type, sleep_using_event

from boot import Boot, ShutdownRequested, StartupError
from faults import Dependency, Fault, Unavailable
from health import Component, Health, Wait

PERMANENT_GRACE = 5.0  # seconds that a server may refuse us because it is still being set up
LOG_EVERY = 5.0  # seconds between two log lines that say the same

T = TypeVar("T")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """In seconds: the whole wait, the longest pause between two attempts, and one attempt."""

    timeout: float
    max_delay: float
    check_timeout: float


def short_pause() -> float:
    """Seconds until the next attempt after one that never reached the server."""
    return uniform(0.05, 0.15)


class Backoff:
    """The pauses of one wait. Exponential with full jitter: a thousand replicas must not trample a server coming up."""

    def __init__(self, max_delay: float) -> None:
        self._max_delay = max_delay
        self._reached = 0

    def pause(self, fault: Fault) -> float:
        """Seconds until the next attempt after one that ended with `fault`."""
        if not fault.reached_server:
            return short_pause()
        self._reached += 1
        return uniform(0, min(self._max_delay, 0.1 * 2 ** min(self._reached, 20)))


def wait_for(dependency: Dependency, component: Component, health: Health, limits: Limits) -> str:
    """Waits until the dependency is usable, and returns what it took, in words.

    Raises StartupError with 69 after `limits.timeout` seconds, or with 77 when it keeps refusing for a reason that only
    a person can change; ShutdownRequested as soon as the process is to stop.
    """
    waiting = _Waiting(dependency, component, health, limits)
    retrying = Retrying(
        retry=retry_if_exception_type(Unavailable),
        wait=waiting.pause,
        stop=waiting.is_over,
        before_sleep=waiting.log_attempt,
        sleep=sleep_using_event(health.boot.stopping),
    )
    try:
        latency_ms = retrying(waiting.attempt)
    except RetryError:
        raise waiting.failure() from None
    finally:
        health.wait = None
    component.publish("up", next_within=limits.check_timeout, latency_ms=latency_ms)
    return f"usable after {waiting.seconds:.1f} s, attempt {component.snapshot.attempts}"


def keep_trying(work: Callable[[], T], boot: Boot, timeout: float) -> T:
    """Runs `work`, which may be repeated, again and again while it raises Unavailable: for stages after the wait.

    Raises StartupError with 69 or 77 when it does so after `timeout` seconds, or ShutdownRequested.
    """
    ends_at = time.monotonic() + timeout
    while True:
        try:
            return work()
        except Unavailable as error:
            fault = error.fault
        if time.monotonic() >= ends_at:
            exit_code = os.EX_NOPERM if fault.permanent else os.EX_UNAVAILABLE
            raise StartupError(f"{fault.reason}. {fault.hint}", exit_code)
        boot.report_progress(f"{fault.reason}, trying again", logging.WARNING)
        if boot.stopping.wait(uniform(0.5, 1.0)):
            raise ShutdownRequested(f"stopped after {fault.reason}")


class _Waiting:
    """What one wait remembers from attempt to attempt."""

    def __init__(self, dependency: Dependency, component: Component, health: Health, limits: Limits) -> None:
        self._dependency = dependency
        self._component = component
        self._health = health
        self._boot: Boot = health.boot
        self._limits = limits
        self._backoff = Backoff(limits.max_delay)
        self._began = time.monotonic()
        self._refused_since: float | None = None
        self._last_logged: tuple[str, float] = ("", 0.0)
        self._fault: Fault  # of the last attempt

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _left(self) -> float:
        end = self._limits.timeout
        if self._refused_since is not None:
            end = min(end, self._refused_since + PERMANENT_GRACE)
        return max(0.0, end - self.seconds)

    @property
    def _exit_code(self) -> int:
        return os.EX_NOPERM if self._fault.permanent else os.EX_UNAVAILABLE

    def is_over(self, _: RetryCallState) -> bool:
        return self._left == 0

    def attempt(self) -> float:
        if self._boot.stopping.is_set():
            raise ShutdownRequested
        seconds = max(0.1, min(self._limits.check_timeout, self._left))
        self._component.expect_check_within(seconds)
        try:
            return self._dependency.check(seconds)
        except Unavailable as error:
            self._fault = error.fault
            raise

    def pause(self, state: RetryCallState) -> float:
        """Seconds until the next attempt; /health learns of the fault. tenacity asks this before `is_over`."""
        fault = self._fault
        if not fault.permanent:
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = self.seconds
        pause, left = min(self._backoff.pause(fault), self._left), self._left
        ends_at = datetime.now(UTC) + timedelta(seconds=left)
        self._health.wait = Wait(self._component.name, ends_at, self._exit_code)
        self._component.publish("waiting", pause + self._limits.check_timeout, fault)
        progress = f"{fault.reason}, attempt {state.attempt_number}, {left:.0f} s left"
        self._boot.report_progress(progress, level=logging.DEBUG)
        return pause

    def log_attempt(self, state: RetryCallState) -> None:
        """The first fault at once with its hint; then a line when the reason changes, or every few seconds."""
        reason, at = self._last_logged
        changed = reason != self._fault.reason
        if not changed and self.seconds - at < LOG_EVERY:
            return
        self._last_logged = (self._fault.reason, self.seconds)
        log.warning(
            "waiting for the %s at %s: %s, attempt %d, %.0f s left.%s",
            self._component.name,
            self._dependency.address,
            self._fault.reason,
            state.attempt_number,
            self._left,
            f" {self._fault.hint}" if changed else "",
        )

    def failure(self) -> StartupError:
        """The end of the wait in one line."""
        return StartupError(
            f"the {self._component.name} at {self._dependency.address} was not usable: "
            f"{self._component.snapshot.attempts} attempts in {self.seconds:.1f} s, "
            f"last reason {self._fault.reason}. {self._fault.hint}",
            self._exit_code,
        )
