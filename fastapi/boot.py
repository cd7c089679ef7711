"""Booting: a stage, and the ordered run of the stages with their times."""

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from traceback import extract_tb
from typing import Literal

log = logging.getLogger(__name__)


class StartError(Exception):
    """A start that cannot go on. The text names cause and fix, `exit_code` (sysexits.h) is for the restart policy."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class StopRequested(Exception):
    """The stage gave up its work because the process is to stop."""


@dataclass
class Stage:
    """One step of the start. `work` does it and returns one line about what it did."""

    name: str
    work: Callable[[], str]
    state: Literal["pending", "running", "done", "skipped", "failed"] = "pending"
    detail: str = ""
    started: float = 0.0
    ended: float = 0.0

    @property
    def seconds(self) -> float:
        return (self.ended or time.monotonic()) - self.started if self.started else 0.0

    def run(self) -> None:
        """Does the work and keeps the time. Raises what the work raises."""
        self.started, self.state = time.monotonic(), "running"
        try:
            self.detail = self.work()
            self.state = "done"
        except StopRequested:
            self.state = "skipped"
        except (Exception, SystemExit):
            self.state = "failed"
            raise
        finally:
            self.ended = time.monotonic()


class Boot:
    """The stages of this process, in order. `exit_code` is 0 until one of them fails."""

    def __init__(self, *stages: Stage) -> None:
        self.stages = stages
        self.stopping = threading.Event()
        self.exit_code = os.EX_OK

    @property
    def done(self) -> bool:
        return self.stages[-1].state == "done"

    def run(self, first: str, last: str) -> bool:
        """Runs the stages from `first` to `last`. False: one failed, is logged, and `exit_code` is set."""
        names = [stage.name for stage in self.stages]
        for stage in self.stages[names.index(first) : names.index(last) + 1]:
            if self.stopping.is_set():
                break
            try:
                stage.run()
            except StartError as error:
                return self._fail(stage, str(error), error.exit_code)
            except (Exception, SystemExit) as error:  # noqa: BLE001  any mistake in a stage ends the process, in order
                return self._fail(stage, f"unexpected {_describe(error)}", os.EX_SOFTWARE)
            log.info("%s: %s, %s (%.0f ms)", stage.name, stage.state, stage.detail, stage.seconds * 1000)
        return True

    def say(self, detail: str) -> None:
        """Shows how far the running stage is."""
        for stage in self.stages:
            if stage.state == "running":
                stage.detail = detail

    def _fail(self, stage: Stage, message: str, exit_code: int) -> bool:
        self.exit_code = exit_code
        stage.detail = message
        end = "" if message.endswith((".", "?")) else "."
        log.critical("%s: failed, %s%s Exit code %d.", stage.name, message, end, exit_code)
        return False


def _describe(error: BaseException) -> str:
    """The error and its place in a line: a log is not the place for a traceback, LOG_LEVEL=DEBUG or not."""
    place = extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}: {error}"
