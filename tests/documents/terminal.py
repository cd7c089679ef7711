"""A terminal with an interactive shell in it, typed into as a person does, one command after the other."""

import os
import re
import signal
import subprocess
import termios
import threading
import time
from contextlib import suppress
from pathlib import Path

COLOUR = re.compile("\x1b\\[[0-9;]*m")
PROMPT = re.compile("\x1e(\\d+)\x1e")  # what the shell prints when a command is done: its exit code between two marks


class Terminal:
    """One shell for all its commands: its variables, its folder and its jobs stay."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._master, slave = os.openpty()
        attributes = termios.tcgetattr(slave)
        attributes[1] &= ~termios.ONLCR  # a line ends with one character, as in a file
        attributes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, attributes)
        termios.tcsetwinsize(slave, (50, 300))
        marks = {"PS1": "\x1e$?\x1e", "PS2": "", "TERM": "dumb"}
        # Where the tests themselves run in the background SIGINT is ignored, and bash would hand that on.
        with_ctrl_c = ["env", "--default-signal=INT"]
        self._shell = subprocess.Popen(
            [*with_ctrl_c, "setsid", "--ctty", "bash", "--norc", "--noprofile", "--noediting", "-i"],
            cwd=folder,
            env=environment | marks,
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self._printed = bytearray()
        self._typed_at = 0
        threading.Thread(target=self._read, daemon=True).start()  # all the time: who is not read from cannot go on
        self.wait(10)

    def _read(self) -> None:
        with suppress(OSError):  # that is how the end of a terminal is reported
            while part := os.read(self._master, 65536):
                self._printed += part

    @property
    def _since_typed(self) -> str:
        return self._printed[self._typed_at :].decode("utf-8", "replace")

    @property
    def text(self) -> str:
        """What the last command has printed so far, without colours."""
        return COLOUR.sub("", PROMPT.split(self._since_typed)[0]).replace("\r", "")

    @property
    def exit_code(self) -> int | None:
        """That of the last command, or None while it runs."""
        prompt = PROMPT.search(self._since_typed)
        return int(prompt[1]) if prompt else None

    def type(self, command: str) -> None:
        """Types a command, of one or more lines, and Enter."""
        self._typed_at = len(self._printed)
        os.write(self._master, f"{command}\n".encode())

    def press_ctrl_c(self) -> None:
        os.write(self._master, b"\x03")

    def wait(self, seconds: float) -> bool:
        """Whether the last command ends in time."""
        deadline = time.monotonic() + seconds
        while self.exit_code is None:
            if time.monotonic() > deadline or self._shell.poll() is not None:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> None:
        """Ends what runs in the foreground, and the shell."""
        if self.exit_code is None:
            self.press_ctrl_c()
            self.wait(30)
        with suppress(ProcessLookupError):
            self._shell.send_signal(signal.SIGHUP)  # which it passes on to its jobs
        with suppress(subprocess.TimeoutExpired):
            self._shell.wait(5)
        self._shell.kill()
        self._shell.wait()
        os.close(self._master)
