"""Runs the commands of a document as a reader would type them, and compares what they print with what it shows.

    python tests/guide.py local README.md             in a network of its own where that is allowed
    python tests/guide.py docker PRD/labs.en.md       with a Docker engine
Exit code 0: everything was as shown; 1: something was not, and the output says what.

A command stands in a block of the language `console` after `$ `, what follows is its output. In it
- a line `…` stands for any lines, `‹1944›` or `…` inside a line for anything;
- times, ports, pids and counts of attempts may differ;
- a line that begins with `> ` continues the command, as does a line after one that ends with a backslash.
A comment on the line before the block directs it:
- `<!-- docker -->` or `<!-- both -->`: the pass that runs it, if not `local`;
- `<!-- terminal 1 -->`: the command stays in the foreground of that terminal until a line `^C`;
- `<!-- not run: reason -->`.
"""

import argparse
import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).parent.parent
SHOWN_FOLDER = "/home/me/bootstrap"  # what the documents call the project's folder
PORT = 8000
LIMIT = {"local": 120, "docker": 400}  # seconds for a command, or for what a terminal is to show
ASKING = 20  # seconds that a question is asked again until its answer is as shown

# What asks and changes nothing, so that it may be asked again; a reader looks again, too.
QUESTION = re.compile(
    r"(sleep \d+; )?(curl (?!.*-X)|python3 fastapi/health\.py|grep |"
    r"docker (compose (ps|logs|exec -T fastapi python health\.py)|inspect|ps))[^;]*(; echo .*)?$",
    re.DOTALL,
)
# What differs from run to run and needs no mark: where a document shows one of these, any other may be seen.
VARYING = [
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?",
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    r"\b\d+(?:\.\d+)? (?:ms|s|seconds?|minutes?)\b",
    r"127\.0\.0\.1:(?!(?:8000|3306)\b)\d+",
    r"\b[0-9a-f]{32}\b",  # a request id
    r"\[\d+\]|pid \d+|kill (?:-\w+ )?\d+",
    r"attempt \d+|\d+ attempts?",
    r" {2,}",  # a column is as wide as its entries
    r"content-length: \d+",
]
MARK = r"‹[^›]*›|…"
PART = re.compile("|".join(f"({pattern})" for pattern in [MARK, *VARYING]))
# Lines of a first ./run or ./test, which makes what is there already when the suite runs.
PREPARATION = re.compile(r"==> (Making \.venv|Installing) .*|[.:]+( unpacking)?")


@dataclass
class Block:
    """A block of commands in a document, with the item of the requirements that it belongs to."""

    line: int
    item: str
    text: str
    passes: set[str] = field(default_factory=lambda: {"local"})
    terminal: str = ""
    not_run: str = ""

    def run_in(self, kind: str) -> bool:
        return kind in self.passes and not self.not_run

    @property
    def commands(self) -> list[tuple[str, list[str]]]:
        """Each command with the lines that it prints. In a terminal's later blocks the first command is empty."""
        found: list[tuple[str, list[str]]] = [("", [])]
        for line in self.text.splitlines():
            command, output = found[-1]
            if line.startswith("$ "):
                found.append((line[2:], []))
            elif not output and (command.endswith("\\") or line.startswith("> ")):
                found[-1] = (f"{command}\n{line.removeprefix('> ')}", output)
            else:
                output.append(line)
        return found if found[0][1] else found[1:]


class Step(NamedTuple):
    """A command, what the document shows, and what was seen."""

    line: int
    item: str
    command: str
    ok: bool
    shown: str
    seen: str


def blocks(document: Path) -> list[Block]:
    """The command blocks of a document, those that are not run included."""
    found: list[Block] = []
    item = directive = ""
    fence: list[str] | None = None
    for number, line in enumerate(document.read_text("utf-8").splitlines(), 1):
        if fence is not None:
            if line.strip() == "```":
                found[-1].text = "\n".join(fence)
                fence = None
            else:
                fence.append(line)
        elif line.strip() == "```console":
            fence = []
            found.append(_directed(Block(number, item, ""), directive))
        elif heading := re.match(r"#+ +([A-Z]+-\d+)?", line):
            item = heading[1] or ""
        directive = line.strip() if line.strip().startswith("<!--") else ""
    return found


def _directed(block: Block, directive: str) -> Block:
    if not directive:
        return block
    words = directive.removeprefix("<!--").removesuffix("-->").strip()
    if words.startswith("not run:"):
        block.not_run = words.removeprefix("not run:").strip()
        return block
    for word in words.split(", "):
        if word in ("docker", "local"):
            block.passes = {word}
        elif word == "both":
            block.passes = {"local", "docker"}
        elif word.startswith("terminal "):
            block.terminal = word
        else:
            raise ValueError(f"line {block.line}: unknown directive {word!r}")
    return block


def matches(shown: list[str], seen: str) -> bool:
    """Whether what was seen is what the document shows."""
    lines = [r"(?:[^\n]*\n)*?" if line.strip() == "…" else _pattern(line) + r"[ \t]*\n" for line in shown]
    return re.fullmatch("".join(lines), seen if seen.endswith("\n") or not seen else seen + "\n") is not None


def _pattern(line: str) -> str:
    parts, end = [], 0
    for part in PART.finditer(line := line.rstrip()):
        kind = part.lastindex or 1
        parts += [re.escape(line[end : part.start()]), ".*" if kind == 1 else f"(?:{VARYING[kind - 2]})"]
        end = part.end()
    return "".join(parts) + re.escape(line[end:])


class Command:
    """A command that somebody has typed, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[bytes]", log: Path, readable: Callable[[str], str]) -> None:
        self.process = process
        self._log = log
        self._readable = readable
        self._read = 0

    @property
    def text(self) -> str:
        return self._readable(self._log.read_text("utf-8", "replace"))

    def wait_for(self, lines: list[str], seconds: float) -> tuple[bool, str]:
        """Waits until the lines appeared in this order, `^C` pressed where it stands. Returns what was seen, too."""
        deadline = time.monotonic() + seconds
        begin = self._read
        for line in lines:
            if line == "^C":
                os.killpg(self.process.pid, signal.SIGINT)
            elif line.strip() != "…" and not PREPARATION.fullmatch(line):
                while not (found := re.compile(f"^{_pattern(line)}[ \t]*$", re.M).search(self.text[self._read :])):
                    if time.monotonic() > deadline:
                        return False, f"{self.text[begin:]}\n(no line: {line})"
                    time.sleep(0.1)
                self._read += found.end()
        if "^C" in lines:
            try:
                self.process.wait(max(1.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                return False, "did not end after ^C"
        return True, self.text[begin:]

    def end(self) -> None:
        for number in (signal.SIGINT, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)


class Reader:
    """Somebody who follows a document in a fresh copy of the project."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.name = f"guide{secrets.token_hex(2)}"  # of the Compose project; as long as `bootstrap`: tables
        self.terminals: dict[str, Command] = {}  # with what is in their foreground
        self._typed = 0
        keep = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
        self._environment = {name: os.environ[name] for name in keep if name in os.environ} | {
            "LC_ALL": "C.UTF-8",
            "COMPOSE_PROJECT_NAME": self.name,
        }

    def read(self, document: Path, items: list[str] | None) -> Iterator[Step]:
        """Does what the document says, from top to bottom; of the items only `items`, if they are given."""
        for block in blocks(document):
            wanted = items is None or block.item in ("", *items)
            if wanted and block.run_in(self.kind):
                for command, shown in block.commands:
                    ok, seen = self._in_terminal(block, command, shown) if block.terminal else self._do(command, shown)
                    yield Step(block.line, block.item, command or block.terminal, ok, "\n".join(shown), seen)

    def _in_terminal(self, block: Block, command: str, shown: list[str]) -> tuple[bool, str]:
        if command:
            self.terminals[block.terminal] = self._type(command)
        return self.terminals[block.terminal].wait_for(shown, LIMIT[self.kind])

    def _do(self, command: str, shown: list[str]) -> tuple[bool, str]:
        deadline = time.monotonic() + ASKING
        while True:
            code, seen = self._run(command)
            ok = matches(shown, seen) and (shown != ["…"] or code == 0)
            if ok or not QUESTION.match(command) or time.monotonic() > deadline:
                return ok, seen
            time.sleep(0.2)

    def _run(self, command: str) -> tuple[int, str]:
        typed = self._type(command)
        try:
            return typed.process.wait(LIMIT[self.kind]), typed.text
        except subprocess.TimeoutExpired:
            os.killpg(typed.process.pid, signal.SIGKILL)
            return typed.process.wait(), f"{typed.text}\n(not done after {LIMIT[self.kind]} s)"

    def _type(self, command: str) -> Command:
        self._typed += 1
        log = self.folder.parent / f"output-{self._typed}"
        with log.open("wb") as output:  # not a pipe: a server that the command leaves behind would keep it open
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return Command(process, log, self._as_shown)

    def _as_shown(self, text: str) -> str:
        return text.replace(str(self.folder), SHOWN_FOLDER).replace(self.name, "bootstrap").replace("\r", "")

    def leave(self) -> None:
        """Ends what still runs."""
        for terminal in self.terminals.values():
            terminal.end()
        if self.kind == "docker":
            if not (self.folder / ".env").exists():
                shutil.copy(self.folder / ".env.example", self.folder / ".env")
            self._run(f"docker ps -aq --filter ancestor={self.name}-fastapi | xargs -r docker rm --force")
            self._run("docker compose down --volumes --rmi local --remove-orphans")
            label = f"label=com.docker.compose.project={self.name}"
            self._run(f"docker image prune --force --filter {label}")  # what a rebuild has left without a name


@contextmanager
def reader(kind: str) -> Iterator[Reader]:
    """A reader with a fresh copy of the project; at the end nothing of it is left."""
    with tempfile.TemporaryDirectory(prefix="guide-") as scratch:
        Path(scratch).chmod(0o755)  # the database server runs as another user
        folder = Path(scratch) / "bootstrap"
        leave_out = shutil.ignore_patterns(".git", ".env", ".venv", ".local", ".reports", "__pycache__", ".*_cache")
        shutil.copytree(PROJECT, folder, ignore=leave_out)
        (folder / ".venv").symlink_to(Path(sys.prefix))
        someone = Reader(kind, folder)
        try:
            yield someone
        finally:
            someone.leave()


def in_own_network(command: list[str]) -> list[str]:
    """The command in a network and with pids of its own, where the machine allows that: its port 8000 is free."""
    user = [] if os.geteuid() == 0 else ["--map-current-user", "--keep-caps"]
    alone = ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", *user]
    try:
        allowed = subprocess.run([*alone, "true"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        allowed = False
    return [*alone, *command, "--alone"] if allowed else command


def _bring_up_loopback() -> None:
    with socket.socket() as anything, suppress(OSError):
        fcntl.ioctl(anything, 0x8914, struct.pack("16sh", b"lo", 0x41))  # SIOCSIFFLAGS: up, running


@contextmanager
def _port_8000(alone: bool) -> Iterator[None]:
    """One reader at a time, unless it is alone in its network. Raises SystemExit when another program has the port."""
    folder = os.open(tempfile.gettempdir(), os.O_RDONLY)
    with socket.socket() as trial:
        if not alone:
            fcntl.flock(folder, fcntl.LOCK_EX)
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", PORT))
        except OSError:
            sys.exit(f"port {PORT}, which the documents use, is taken: end the program that has it")
        trial.close()
        yield
    os.close(folder)


def run(kind: str, document: Path, items: Iterable[str] | None = None) -> list[Step]:
    """Runs this program for a document. Raises RuntimeError with what it printed where it could not begin."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        command = [sys.executable, __file__, kind, str(document), "--report", str(report)]
        command += ["--items", *items] if items is not None else []
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=1500)
        if not report.exists():
            raise RuntimeError(done.stdout + done.stderr)
        return [Step(**step) for step in json.loads(report.read_text())]


def differences(steps: Iterable[Step]) -> str:
    """What was not as the document shows it, in words; empty where all was."""
    steps = list(steps)
    if not steps:
        return "nothing was run"
    return "\n".join(
        f"line {step.line} {step.item} $ {step.command}\n--- shown\n{step.shown}\n--- seen\n{step.seen}"
        for step in steps
        if not step.ok
    )


def main() -> int:
    """Reads one document. Returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("kind", choices=sorted(LIMIT))
    parser.add_argument("document", type=Path)
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
        _bring_up_loopback()
    steps = []
    with _port_8000(options.alone), reader(options.kind) as someone:
        for step in someone.read(options.document.resolve(), options.items):
            steps.append(step)
            print(f"{'✓' if step.ok else '✗'} {options.document}:{step.line} {step.item} $ {step.command}", flush=True)
            if not step.ok:
                print(differences([step]), flush=True)
    if options.report:
        options.report.write_text(json.dumps([step._asdict() for step in steps]))
    return 0 if all(step.ok for step in steps) else 1


if __name__ == "__main__":
    sys.exit(main())
