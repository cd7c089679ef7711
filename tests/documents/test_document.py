"""The parser of the documents."""

from pathlib import Path

import pytest
from document import Command, blocks

TEXT = """
## LAB-1 A title

<!-- terminal 1 -->
```console
$ ./run local
ready
```

```console
$ curl -s localhost:8000/health | \\
    grep ok
ok
$ python3 -c '
> print(1)'
1
```

<!-- docker, ask again -->
```console
$ docker compose ps
```

<!-- not run: it takes an hour -->
```console
$ ./test
```

```yaml
$ not a command
```
"""


def test_blocks(tmp_path: Path) -> None:
    """A block has its line, its item, its terminal and the passes that run it."""
    (tmp_path / "text.md").write_text(TEXT)

    first, second, third, fourth = blocks(tmp_path / "text.md")

    assert (first.line, first.item, first.terminal, first.in_foreground) == (5, "LAB-1", "terminal 1", True)
    assert (second.terminal, second.in_foreground, second.ask_again) == ("terminal 2", False, False)
    assert (third.kinds, third.ask_again, third.run_in("local")) == ({"docker"}, True, False)
    assert (fourth.not_run, fourth.run_in("local")) == ("it takes an hour", False)


def test_commands(tmp_path: Path) -> None:
    """A command goes on after a backslash and in lines that begin with `> `; the lines below it are its output."""
    (tmp_path / "text.md").write_text(TEXT)

    commands = blocks(tmp_path / "text.md")[1].commands

    assert commands == [
        Command("curl -s localhost:8000/health | \\\n    grep ok", ["ok"]),
        Command("python3 -c '\nprint(1)'", ["1"]),
    ]


def test_output_that_goes_on(tmp_path: Path) -> None:
    """A later block of a terminal begins with output, of no new command."""
    (tmp_path / "text.md").write_text("<!-- terminal 1 -->\n```console\nmore\n^C\n```\n")

    assert blocks(tmp_path / "text.md")[0].commands == [Command("", ["more", "^C"])]


def test_an_unknown_directive(tmp_path: Path) -> None:
    """A directive with a typing error is an error, with its line."""
    (tmp_path / "text.md").write_text("<!-- dokcer -->\n```console\n$ true\n```\n")

    with pytest.raises(ValueError, match="line 2: unknown directive 'dokcer'"):
        blocks(tmp_path / "text.md")
