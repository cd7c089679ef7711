"""The guide is true: its commands print what it shows, what it names exists, and tests prove its requirements."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from guide import PROJECT, blocks, differences, run
from prd import ENGLISH, OTHER_THAN_ITEMS, PAIRS, items, proofs, verified

TEXTS = [*PAIRS, *PAIRS.values()]
MADE_LATER = {".env", ".venv", "docker-compose.override.yml"}  # by a command of the text, or by its reader


def prose(document: Path) -> str:
    """A document without its blocks."""
    return re.sub(r"^```.*?^```", "", document.read_text("utf-8"), flags=re.M | re.S)


@cache
def known_names() -> dict[str, set[str]]:
    """For each form that a name can have, all names of that form that exist in the project."""
    files = [file for file in PROJECT.rglob("*") if not {".git", ".venv", "__pycache__"} & set(file.parts)]
    code = "\n".join(_text(file) for file in files if file.is_file() and file.suffix != ".md")
    return {
        r"tests/.+::\w+": {test.id for test in proofs()},
        r"[\w./-]*\w\.(py|md|yml|sh|html|toml|in|txt|svg|example)": {
            name for file in files for name in (str(file.relative_to(PROJECT)), file.name)
        },
        r"([A-Z]\w+\.)?\w+\(\)": {f"{name}()" for name in re.findall(r"(?:def |class |^)(\w+)\b(?=\(|:)", code, re.M)},
        r"[a-z]+\.\w+\(\)": {f"{name}()" for name in re.findall(r"\w+\.\w+", code)},  # of a library
        r"[A-Z][A-Z0-9]*(_[A-Z0-9]+)+|[a-z][a-z0-9]*(_[a-z0-9]+)+": set(re.findall(r"\w+", code)),
    }


def _text(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.mark.prd("DOC-01")
def test_every_item_has_a_test() -> None:
    """Each item is named by a test, and the tests that its text gives exist and name it."""
    named_by = {test.id: test.items for test in proofs()}

    wrong = [
        f"{item.id}: {test or 'no test'}"
        for item in items(ENGLISH)
        for test in (item.tests or [""])
        if item.id not in named_by.get(test, ())
    ]

    assert wrong == []


@pytest.mark.prd("DOC-01")
def test_every_test_names_an_item() -> None:
    """Each test of the suite names at least one item, and no item that does not exist."""
    known = {item.id for item in items(ENGLISH)}

    wrong = [f"{test.id}: {sorted(test.items - known)}" for test in proofs() if not test.items or test.items - known]

    assert wrong == []


@pytest.mark.prd("DOC-02")
@pytest.mark.parametrize(("english", "korean"), PAIRS.items())
def test_both_languages_have_the_same_items_and_commands(english: str, korean: str) -> None:
    """Korean and English have the same headings' levels, items, tests and commands, in the same order."""
    shapes = []

    for document in (PROJECT / english, PROJECT / korean):
        text = prose(document)
        commands = [
            (block.item, block.text, block.passes, block.terminal, bool(block.not_run)) for block in blocks(document)
        ]
        ids = [(item.id, item.tests) for item in items(document)]
        shapes.append((re.findall(r"^#+", text, re.M), ids, text.count("\n|"), commands))

    assert shapes[0] == shapes[1]


@pytest.mark.prd("DOC-04")
@pytest.mark.parametrize("document", TEXTS)
def test_every_command_is_run_or_says_why_not(document: str) -> None:
    """Commands stand in `console` blocks, and one that the suite leaves out gives its reason."""
    text = (PROJECT / document).read_text("utf-8")

    others = [
        block
        for block in re.findall(r"^```(?!console)\w*\n(?:.*\n)*?```", text, re.M)
        if re.search(r"^\$ ", block, re.M)
    ]
    shells = re.findall(r"^```(?:sh|bash|shell)$", text, re.M)
    silent = [block.line for block in blocks(PROJECT / document) if block.not_run == "" and not block.commands]

    assert (others, shells, silent) == ([], [], [])


@pytest.mark.prd("DOC-03")
@pytest.mark.parametrize("document", TEXTS)
def test_what_the_text_names_exists(document: str) -> None:
    """Each file, function, variable and test that a text names is there."""
    known = known_names()
    spans = set(re.findall(r"`([^`\n]+)`", prose(PROJECT / document))) - MADE_LATER

    missing = []
    for span in spans:
        kind = next((kind for kind in known if re.fullmatch(kind, span)), None)
        name = re.sub(r"^[A-Z]\w+\.", "", span) if span.endswith("()") else span
        if kind and name not in known[kind]:
            missing.append(span)

    assert sorted(missing) == []


@pytest.mark.prd("DOC-04")
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("document", OTHER_THAN_ITEMS)
def test_the_commands_of_a_document(document: str) -> None:
    """Typed one after the other in a fresh copy, the commands print what the document shows."""
    wrong = differences(run("local", PROJECT / document))

    assert not wrong, wrong


@pytest.mark.prd("DOC-04")
@pytest.mark.timeout(1600)
@pytest.mark.parametrize("item", verified("local"))
def test_verify(item: str, verify: Callable[[str, str], str]) -> None:
    """The item's Verify commands print what its text shows."""
    wrong = verify("local", item)

    assert not wrong, wrong
