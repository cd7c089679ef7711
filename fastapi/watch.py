"""Watching a dependency after the start: one thread asks for all probes and all requests."""

import logging
import time
from collections import deque
from collections.abc import Callable
from threading import Event, Thread

from faults import Dependency, Fault, Unavailable
from health import Component
from wait import short_pause

SHORT_LIFE = 0.5  # seconds; what ends a pause sooner than that must not make the next check come at once
REMIND_EVERY = 60.0  # seconds between two log lines of one outage
OUTAGES = 3  # in REMIND_EVERY seconds; the changes of a component that flaps more often are not logged one by one
SETTLED = 10.0  # seconds without a change, after which it does not flap any more

log = logging.getLogger(__name__)


def watch(
    dependency: Dependency,
    component: Component,
    stopping: Event,
    interval: float,
    check_timeout: float,
    pause: Callable[[float], object] | None = None,
) -> None:
    """Starts the thread that checks every `interval` seconds, each time for at most `check_timeout`.

    `pause(seconds)` waits between two checks that succeed; it may return early when there is reason to check at once.
    """
    watcher = _Watcher(dependency, component, stopping, interval, check_timeout, pause or stopping.wait)
    Thread(target=watcher.run, name=f"watch {component.name}", daemon=True).start()


class _Watcher:
    def __init__(
        self,
        dependency: Dependency,
        component: Component,
        stopping: Event,
        interval: float,
        check_timeout: float,
        pause: Callable[[float], object],
    ) -> None:
        self._dependency = dependency
        self._component = component
        self._stopping = stopping
        self._interval = interval
        self._check_timeout = check_timeout
        self._pause = pause
        self._last_logged: tuple[str, float] = ("", 0.0)
        self._outages: deque[float] = deque(maxlen=OUTAGES + 1)
        self._flapping = False

    def run(self) -> None:
        while not self._stopping.is_set():
            self._component.expect_check_within(self._check_timeout)
            began = time.monotonic()
            try:
                latency_ms = self._dependency.check(self._check_timeout)
            except Unavailable as error:
                self._report_down(error.fault)
            except Exception as error:  # whatever it is: without its watcher /health would be stale for ever
                log.exception("the check of the %s has a mistake", self._component.name)
                self._report_down(Fault("unknown", f"The check itself failed: {type(error).__name__}. See the log."))
            else:
                self._report_up(latency_ms)
                self._pause(self._interval)
                if time.monotonic() - began < min(SHORT_LIFE, self._interval):
                    self._stopping.wait(short_pause())

    def _report_up(self, latency_ms: float) -> None:
        lasted = self._component.publish("up", self._interval + self._check_timeout, latency_ms=latency_ms)
        if self._flapping:
            self._log_when_settled()
        elif lasted is not None and self._last_logged[0]:  # else it is the first check, and nothing was logged yet
            attempts = self._component.snapshot.attempts
            log.info("%s up again after %.1f s and %d attempts", self._component.name, lasted, attempts)

    def _report_down(self, fault: Fault) -> None:
        pause = self._interval if fault.reached_server else short_pause()
        began = self._component.publish("down", pause + self._check_timeout, fault) is not None
        if began:
            self._outages.append(time.monotonic())
        if self._flapping:
            self._log_when_settled()
        else:
            self._log(fault, began)
        self._stopping.wait(pause)

    def _log(self, fault: Fault, began: bool) -> None:
        """The beginning of an outage, a reminder a minute, and at once what waiting does not cure."""
        if began and len(self._outages) > OUTAGES and self._outages[-1] - self._outages[0] < REMIND_EVERY:
            self._flapping = True
            log.error("%s down again: %s. It goes up and down; more when it stays", self._component.name, fault.reason)
            return
        reason, at = self._last_logged
        news = fault.permanent and fault.reason != reason
        if not began and not news and time.monotonic() - at < REMIND_EVERY:
            return
        self._last_logged = (fault.reason, time.monotonic())
        since = "" if began else f" since {self._component.snapshot.since:%H:%M:%S}Z"
        log.error(
            "%s %s%s: %s. %s", self._component.name, "down" if began else "still down", since, fault.reason, fault.hint
        )

    def _log_when_settled(self) -> None:
        if time.monotonic() - self._component.status_since < SETTLED:
            return
        self._flapping = False
        self._outages.clear()
        snapshot = self._component.snapshot
        log.warning("%s %s since %s", self._component.name, snapshot.status, f"{snapshot.since:%H:%M:%S}Z")
