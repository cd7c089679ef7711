"""Deadlines: one thread for all of them, however many connections log in at the same time."""

import heapq
import threading
import time
from collections.abc import Callable
from itertools import count


class Deadlines:
    """Calls a function when its time has come, unless it was cancelled before. The thread starts with the first one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def call_after(self, seconds: float, function: Callable[[], None]) -> int:
        """Returns a number for `cancel`. `function` must return quickly and raise nothing."""
        with self._changed:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="deadlines", daemon=True)
                thread.start()
                self._thread = thread
            number = next(self._numbers)
            heapq.heappush(self._waiting, (time.monotonic() + seconds, number, function))
            if self._waiting[0][1] == number:
                self._changed.notify()
        return number

    def cancel(self, number: int) -> None:
        """The function is not called any more. One whose time has come is called already."""
        with self._changed:
            self._waiting = [entry for entry in self._waiting if entry[1] != number]
            heapq.heapify(self._waiting)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting or self._waiting[0][0] > time.monotonic():
                    self._changed.wait(self._waiting[0][0] - time.monotonic() if self._waiting else None)
                _, _, function = heapq.heappop(self._waiting)
            function()


deadlines = Deadlines()
