"""The reader of the documents, and the terminal that it types into."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from reader import Reader, Step
from terminal import Terminal

ENVIRONMENT = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal in an empty folder."""
    terminal = Terminal(tmp_path, ENVIRONMENT)
    yield terminal
    terminal.close()


@pytest.fixture
def someone(tmp_path: Path) -> Iterator[Reader]:
    """A reader in a hurry."""
    someone = Reader("local", tmp_path, pause=0)
    yield someone
    someone.leave()


def read(someone: Reader, text: str) -> list[Step]:
    document = someone.folder / "text.md"
    document.write_text(text)
    return list(someone.read(document))


def test_one_shell_for_all_commands(terminal: Terminal) -> None:
    """Variables, the folder and $SECONDS are those of the shell, which goes on."""
    for command in ("name=value", "mkdir inside && cd inside", 'echo "$name $(basename "$PWD") $-"'):
        terminal.type(command)
        assert terminal.wait(10)

    assert terminal.text.startswith("value inside")
    assert "i" in terminal.text.split()[2], "interactive"


def test_exit_code_and_several_lines(terminal: Terminal) -> None:
    """A command may have several lines; its exit code is known when it is done."""
    terminal.type("python3 -c '\nprint(\"two\")\nraise SystemExit(3)'")

    assert terminal.wait(10)
    assert (terminal.text, terminal.exit_code) == ("two\n", 3)


def test_ctrl_c(terminal: Terminal) -> None:
    """It ends what is in the foreground, not the shell."""
    terminal.type("echo begun; sleep 60")
    while "begun" not in terminal.text:
        time.sleep(0.01)

    terminal.press_ctrl_c()

    assert terminal.wait(10)
    assert terminal.exit_code == 130


def test_a_wrong_first_answer(someone: Reader) -> None:
    """It is a failure, although the second one would be right."""
    block = "```console\n$ cat there || touch there\n```\n"

    first = read(someone, block)[0]
    (someone.folder / "there").unlink()
    again = read(someone, f"<!-- ask again -->\n{block}")[0]

    assert first.wrong == "shown: (nothing more)\nseen:  cat: there: No such file or directory"
    assert again.wrong == ""


def test_a_foreground_command(someone: Reader) -> None:
    """Its lines are waited for, in their order, until Ctrl-C; what does not come is named when it has ended."""
    begin = "<!-- terminal 1 -->\n```console\n$ for n in 1 2 3; do echo line $n; sleep 0.1; done; cat\n…\nline 2\n```\n"

    good = read(someone, begin + "\n<!-- terminal 1 -->\n```console\nline 3\n^C\n```\n")
    bad = read(someone, "<!-- terminal 1 -->\n```console\n$ echo line 1\nline 2\n```\n")

    assert [step.wrong for step in good] == ["", ""]
    assert bad[0].wrong.startswith("shown: line 2\nseen:  no such line in terminal 1 after\nline 1")


def test_a_failed_command_whose_output_is_left_out(someone: Reader) -> None:
    """A line … alone stands for any output, but not for any exit code."""
    (step,) = read(someone, "```console\n$ false\n…\n```\n")

    assert step.wrong.startswith("exit code 1")
