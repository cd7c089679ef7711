"""The start: stages that run in order, each of them visible, none of them cut in its middle."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Literal

OWN_CODE = Path(__file__).parent

log = logging.getLogger(__name__)


class StartupError(Exception):
    """A start that cannot go on. The text names cause and fix; `exit_code` (sysexits.h) is for the restart policy."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Skip(Exception):
    """Raised by a stage that has nothing to do. The text says why."""


class ShutdownRequested(Exception):
    """Raised by a stage that has reached a safe point, because the process is to stop."""


@dataclass(frozen=True)
class Stage:
    """One step of the start. `run` is given the service and returns one line about what it did, or raises Skip.

    After SIGTERM a running stage has `grace` seconds to reach a point at which nothing is left half done. It learns of
    the shutdown from `Boot.stopping`. 0: there is nothing that could be left half done.
    """

    name: str
    run: Callable[..., str]
    grace: float = 5.0


@dataclass
class StageRun:
    """What is known of a stage in this process."""

    stage: Stage
    state: Literal["pending", "running", "done", "skipped", "failed"] = "pending"
    detail: str = ""
    started: float = 0.0
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0


class Boot:
    """The run of all stages of this process. `exit_code` is 0 until one of them fails."""

    def __init__(self, stages: Iterable[Stage]) -> None:
        self.runs = tuple(StageRun(stage) for stage in stages)
        self.stopping = threading.Event()
        self.exit_code = os.EX_OK
        self._began = time.monotonic()
        self._stop_requested_at = 0.0
        self._lock = threading.Lock()  # between "a stage begins" and "a shutdown is requested"

    @property
    def done(self) -> bool:
        return self.runs[-1].state in {"done", "skipped"}

    @property
    def stopping_for(self) -> float:
        """Seconds since the request to stop."""
        return time.monotonic() - self._stop_requested_at if self._stop_requested_at else 0.0

    @property
    def running(self) -> StageRun | None:
        return next((run for run in self.runs if run.state == "running"), None)

    def seconds_until(self, run: StageRun) -> float:
        """From the beginning of the start to the end of this stage."""
        return run.ended - self._began

    def run(self, stages: Iterable[Stage], service: object) -> bool:
        """Runs these stages. False: one failed, which is logged, and `exit_code` says how; or a shutdown came first."""
        wanted = set(stages)
        for run in self.runs:
            if run.stage in wanted and not (self._begin(run) and self._finish(run, service)):
                return False
        if self.done:
            skipped = sum(run.state == "skipped" for run in self.runs)
            seconds = time.monotonic() - self._began
            log.info("ready after %.2f s: %d stages done, %d skipped", seconds, len(self.runs) - skipped, skipped)
        return True

    def report_progress(self, detail: str, level: int = logging.INFO) -> None:
        """Shows in /health, on the page and in the log how far the running stage is."""
        if run := self.running:
            run.detail = detail
            log.log(level, "%s: %s", run.stage.name, detail)

    def request_shutdown(self) -> None:
        """No further stage begins; the running one learns of it. Not for signal handlers: it takes locks."""
        with self._lock:
            self._stop_requested_at = self._stop_requested_at or time.monotonic()
            self.stopping.set()

    def may_exit(self) -> bool:
        """After `request_shutdown`: whether no stage is running, or the running one has used up its grace.

        A stage that is cut although it could leave something half done makes the exit code 70.
        """
        with self._lock:
            run = self.running
            if run is None or run.stage.grace == 0:
                return True
            if self.stopping_for < run.stage.grace:
                return False
        if not self.exit_code:
            self.exit_code = os.EX_SOFTWARE
            log.critical(
                "%s: cut off, because it did not reach a safe point within %.0f s of the request to stop. It was at: "
                "%s. Exit code %d.",
                run.stage.name,
                run.stage.grace,
                run.detail or "no progress reported",
                self.exit_code,
            )
        return True

    def _begin(self, run: StageRun) -> bool:
        with self._lock:
            if self.stopping.is_set():
                return False
            run.started, run.state = time.monotonic(), "running"
            return True

    def _finish(self, run: StageRun, service: object) -> bool:
        try:
            self._end(run, "done", run.stage.run(service))
        except Skip as why:
            self._end(run, "skipped", str(why))
        except ShutdownRequested as where:
            self._end(run, "skipped", str(where) or "the process was asked to stop")
            return False
        except StartupError as error:
            return self._fail(run, str(error), error.exit_code)
        except (Exception, SystemExit) as error:  # noqa: BLE001  whatever a stage raises ends the process in order
            return self._fail(run, f"unexpected {class_and_place(error)}", os.EX_SOFTWARE, error)
        return True

    def _end(self, run: StageRun, state: Literal["done", "skipped", "failed"], detail: str) -> None:
        run.detail, run.ended, run.state = detail, time.monotonic(), state
        if state != "failed":
            log.info("%s: %s, %s (%.0f ms)", run.stage.name, state, detail, run.seconds * 1000)

    def _fail(self, run: StageRun, message: str, exit_code: int, unexpected: BaseException | None = None) -> bool:
        """Logs the failure. One that comes after the request to stop changes neither the exit code nor the outcome."""
        self._end(run, "failed", message)
        if self.stopping.is_set():
            log.info("%s: failed while stopping, %s", run.stage.name, message, exc_info=unexpected)
            return False
        self.exit_code = exit_code
        end = "" if message.endswith((".", "?")) else "."
        log.critical("%s: failed, %s%s Exit code %d.", run.stage.name, message, end, exit_code, exc_info=unexpected)
        return False


def class_and_place(error: BaseException) -> str:
    """The class and the last line of our own code that led there; never the text, which may be a driver's."""
    frames = extract_tb(error.__traceback__)
    own = [frame for frame in frames if Path(frame.filename).is_relative_to(OWN_CODE)]
    stage_or_own = own[-1] if len(own) > 1 else frames[-1]  # whoever catches it is always the first
    return f"{type(error).__name__} at {Path(stage_or_own.filename).name}:{stage_or_own.lineno}"
