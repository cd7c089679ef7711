"""Does what a document says, as its reader would, and compares what the commands print with what it shows.

    python tests/documents/reader.py local README.md             in a network of its own where that is allowed
    python tests/documents/reader.py docker PRD/labs.en.md       with a Docker engine
    … --pause 4                                                  as a person who types slowly
Exit code 0: everything was as shown; 1: something was not, and the output says what.
How commands and outputs are written: see document.py and matching.py.
"""

import argparse
import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from document import USUAL_TERMINAL, Block, blocks
from matching import difference, pattern
from own_network import bring_up_loopback, in_own_network, port_8000
from terminal import Terminal

PROJECT = Path(__file__).parent.parent.parent
SHOWN_FOLDER = "/home/me/bootstrap"  # what the documents call the project's folder
LIMIT = {"local": 120, "docker": 400}  # seconds for a command, or for what a terminal is to show
ASKING = 20  # seconds that a question is asked again until its answer is as shown
PAUSE = 0.5  # seconds between two commands: nobody types faster

# Lines of a first ./run or ./test, which makes what is there already when the suite runs.
PREPARATION = re.compile(r"==> (Making \.venv|Installing) .*|[.:]+( unpacking)?")


class Step(NamedTuple):
    """A command, and what was not as the document shows it: empty where all was."""

    line: int
    item: str
    command: str
    wrong: str


class Reader:
    """Somebody who follows a document in a fresh copy of the project."""

    def __init__(self, kind: str, folder: Path, pause: float = PAUSE) -> None:
        self.kind = kind
        self.folder = folder
        self.pause = pause
        self.name = f"guide{secrets.token_hex(2)}"  # of the Compose project; as long as `bootstrap`: tables
        self._terminals: dict[str, Terminal] = {}
        self._read_until: dict[str, int] = {}  # how much of what is in the foreground of a terminal
        keep = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
        self._environment = {name: os.environ[name] for name in keep if name in os.environ} | {
            "LC_ALL": "C.UTF-8",
            "COMPOSE_PROJECT_NAME": self.name,
            "COMPOSE_PROGRESS": "plain",  # one line after the other, as into a file
            "COMPOSE_ANSI": "never",
            "BUILDKIT_PROGRESS": "plain",
        }

    def read(self, document: Path, items: list[str] | None = None) -> Iterator[Step]:
        """Does what the document says, from top to bottom; of the items only `items`, if they are given."""
        item = ""
        for block in blocks(document):
            wanted = items is None or block.item in ("", *items)
            if wanted and block.run_in(self.kind):
                if block.item != item:
                    self._end_item()
                item = block.item
                for command, shown in block.commands:
                    time.sleep(self.pause)
                    do = self._in_foreground if block.in_foreground else self._do
                    yield Step(block.line, block.item, command or block.terminal, do(block, command, shown))

    def _end_item(self) -> None:
        """Ctrl-C in the terminals that an item has used beside the first two."""
        for name, terminal in self._terminals.items():
            if name not in ("terminal 1", USUAL_TERMINAL) and terminal.exit_code is None:
                terminal.press_ctrl_c()
                terminal.wait(30)

    def _do(self, block: Block, command: str, shown: list[str]) -> str:
        terminal = self._terminal(block.terminal)
        deadline = time.monotonic() + (ASKING if block.ask_again else 0)
        while True:
            wrong = self._type(terminal, command)
            wrong = wrong or difference(shown, self._as_shown(terminal.text))
            if not wrong and shown == ["…"] and terminal.exit_code:
                wrong = f"exit code {terminal.exit_code}:\n{terminal.text[-2000:]}"
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(1)

    def _type(self, terminal: Terminal, command: str) -> str:
        terminal.type(command)
        if terminal.wait(LIMIT[self.kind]):
            return ""
        terminal.press_ctrl_c()
        terminal.wait(30)
        return f"not done after {LIMIT[self.kind]} s:\n{terminal.text[-2000:]}"

    def _in_foreground(self, block: Block, command: str, shown: list[str]) -> str:
        """Waits until the lines appear in this order, with `^C` pressed where it stands."""
        terminal = self._terminal(block.terminal)
        if command:
            if not terminal.wait(LIMIT[self.kind]):
                return f"{block.terminal} is still busy:\n{terminal.text[-2000:]}"
            terminal.type(command)
            self._read_until[block.terminal] = 0
        deadline = time.monotonic() + LIMIT[self.kind]
        for line in shown:
            if line == "^C":
                terminal.press_ctrl_c()
            elif line.strip() != "…" and not PREPARATION.fullmatch(line):
                wrong = self._wait_for(line, block.terminal, deadline)
                if wrong:
                    return wrong
        if "^C" in shown and not terminal.wait(max(1.0, deadline - time.monotonic())):
            return "did not end after ^C"
        return ""

    def _wait_for(self, line: str, name: str, deadline: float) -> str:
        terminal, begin = self._terminal(name), self._read_until[name]
        wanted = re.compile(f"^{pattern(line)}$", re.M)
        while True:
            over = terminal.exit_code is not None or time.monotonic() > deadline  # before the text is looked at
            text = self._as_shown(terminal.text)
            if found := wanted.search(text, begin):
                self._read_until[name] = found.end()
                return ""
            if over:
                return f"shown: {line}\nseen:  no such line in {name} after\n{text[begin:][-3000:].strip()}"
            time.sleep(0.1)

    def _terminal(self, name: str) -> Terminal:
        if name not in self._terminals:
            self._terminals[name] = Terminal(self.folder, self._environment)
        return self._terminals[name]

    def _as_shown(self, text: str) -> str:
        return text.replace(str(self.folder), SHOWN_FOLDER).replace(self.name, "bootstrap")

    def leave(self) -> None:
        """Ends what still runs."""
        for terminal in self._terminals.values():
            terminal.close()
        if self.kind == "docker":
            if not (self.folder / ".env").exists():
                shutil.copy(self.folder / ".env.example", self.folder / ".env")
            terminal = Terminal(self.folder, self._environment)
            self._type(terminal, f"docker ps -aq --filter ancestor={self.name}-fastapi | xargs -r docker rm --force")
            self._type(terminal, "docker compose down --volumes --rmi local --remove-orphans")
            label = f"label=com.docker.compose.project={self.name}"
            self._type(terminal, f"docker image prune --force --filter {label}")  # what a rebuild left without a name
            terminal.close()


@contextmanager
def reader(kind: str, pause: float) -> Iterator[Reader]:
    """A reader with a fresh copy of the project; at the end nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="guide-") as scratch:
        Path(scratch).chmod(0o755)  # the database server runs as another user
        someone = Reader(kind, copy_of_project(Path(scratch) / "bootstrap"), pause)
        try:
            yield someone
        finally:
            someone.leave()


def copy_of_project(folder: Path) -> Path:
    """The project without what belongs to this machine, but with its packages."""
    leave_out = shutil.ignore_patterns(".git", ".env", ".venv", ".local", ".reports", "__pycache__", ".*_cache")
    shutil.copytree(PROJECT, folder, ignore=leave_out)
    (folder / ".venv").symlink_to(Path(sys.prefix))
    return folder


def run(kind: str, document: Path, items: Iterable[str] | None = None, pause: float = PAUSE) -> list[Step]:
    """Runs this program for a document. Raises RuntimeError with what it printed where it could not begin."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        command = [sys.executable, __file__, kind, str(document), "--report", str(report), "--pause", str(pause)]
        command += ["--items", *items] if items is not None else []
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
        if not report.exists():
            raise RuntimeError(done.stdout + done.stderr)
        return [Step(*step) for step in json.loads(report.read_text())]


def differences(steps: Iterable[Step]) -> str:
    """What was not as the document shows it, in words; empty where all was."""
    steps = list(steps)
    if not steps:
        return "nothing was run"
    return "\n\n".join(f"line {step.line} {step.item} $ {step.command}\n{step.wrong}" for step in steps if step.wrong)


def main() -> int:
    """Reads one document. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("kind", choices=sorted(LIMIT))
    parser.add_argument("document", type=Path)
    parser.add_argument("--pause", type=float, default=PAUSE, help="seconds between two commands")
    parser.add_argument("--report", type=Path, help="file for the steps as JSON")
    parser.add_argument("--items", nargs="*", help="only these of the items, and what stands outside of items")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)  # set by itself, in the end
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind == "local" and not options.inside:
        command = in_own_network([sys.executable, __file__, *sys.argv[1:], "--inside"])
        os.execvp(command[0], command)
    # In the background of a shell it is ignored, and the commands would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if options.alone:
        bring_up_loopback()
    steps = []
    with port_8000(options.alone), reader(options.kind, options.pause) as someone:
        for step in someone.read(options.document.resolve(), options.items):
            steps.append(step)
            print(f"{'✗' if step.wrong else '✓'} {options.document}:{step.line} {step.item} $ {step.command}")
            print(step.wrong, end="\n" if step.wrong else "", flush=True)
    if options.report:
        options.report.write_text(json.dumps(steps))
    return 1 if any(step.wrong for step in steps) else 0


if __name__ == "__main__":
    sys.exit(main())
