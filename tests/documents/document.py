"""The parser: the command blocks of a document.

A command stands in a block of the language `console` after `$ `, what follows is its output. A line that begins with
`> ` continues the command, as does a line after one that ends with a backslash.

A comment on the line before the block directs it, parts separated by commas:
- `docker` or `both`: the kind of pass that runs it, if not `local`;
- `terminal 1`: where it is typed, if not in terminal 2. Such a command stays in the foreground until a line `^C`;
- `ask again`: the text says that the first answer may be an old one;
- `not run: reason`.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

USUAL_TERMINAL = "terminal 2"  # terminal 1 is that of `./run`


class Command(NamedTuple):
    """What is typed, and the lines that are shown below it."""

    text: str
    shown: list[str]


@dataclass
class Block:
    """A block of commands in a document, with the item of the requirements that it belongs to."""

    line: int
    item: str
    text: str = ""
    kinds: set[str] = field(default_factory=lambda: {"local"})
    terminal: str = USUAL_TERMINAL
    in_foreground: bool = False
    ask_again: bool = False
    not_run: str = ""

    def run_in(self, kind: str) -> bool:
        return kind in self.kinds and not self.not_run

    @property
    def commands(self) -> list[Command]:
        """In a terminal's later blocks the first command is empty: its output goes on."""
        found = [Command("", [])]
        for line in self.text.splitlines():
            text, shown = found[-1]
            if line.startswith("$ "):
                found.append(Command(line[2:], []))
            elif not shown and (text.endswith("\\") or line.startswith("> ")):
                found[-1] = Command(f"{text}\n{line.removeprefix('> ')}", shown)
            else:
                shown.append(line)
        return found if found[0].shown else found[1:]


def blocks(document: Path) -> list[Block]:
    """The command blocks of a document, those that are not run included. Raises ValueError for an unknown directive."""
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
            found.append(_directed(Block(number, item), directive))
        elif heading := re.match(r"#+ +([A-Z]+-\d+)?", line):
            item = heading[1] or ""
        directive = line.strip() if line.strip().startswith("<!--") else ""
    return found


def _directed(block: Block, directive: str) -> Block:
    words = directive.removeprefix("<!--").removesuffix("-->").strip()
    if words.startswith("not run:"):
        block.not_run = words.removeprefix("not run:").strip()
        return block
    for word in words.split(", ") if words else []:
        if word in ("docker", "local"):
            block.kinds = {word}
        elif word == "both":
            block.kinds = {"local", "docker"}
        elif word.startswith("terminal "):
            block.terminal, block.in_foreground = word, True
        elif word == "ask again":
            block.ask_again = True
        else:
            raise ValueError(f"line {block.line}: unknown directive {word!r}")
    return block
