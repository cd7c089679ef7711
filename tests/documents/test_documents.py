"""The documents are true: what they name exists, both languages agree, and their commands print what they show."""

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from document import blocks
from prd import ENGLISH, OTHER_THAN_ITEMS, PAIRS, items, proofs, verified
from reader import PROJECT, differences, run

TEXTS = [*PAIRS, *PAIRS.values()]


def typed() -> list[Any]:
    """Each document with each of the two ways in which it has commands."""
    marks = {"local": (), "docker": (pytest.mark.compose,)}
    return [
        pytest.param(kind, document, marks=marks[kind], id=f"{kind}-{document}")
        for kind in marks
        for document in OTHER_THAN_ITEMS
        if any(block.run_in(kind) for block in blocks(PROJECT / document))
    ]


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
def test_a_test_names_no_unknown_item() -> None:
    """A test need not name an item; one that it names exists."""
    known = {item.id for item in items(ENGLISH)}

    wrong = [f"{test.id}: {sorted(test.items - known)}" for test in proofs() if test.items - known]

    assert wrong == []


@pytest.mark.prd("DOC-02")
@pytest.mark.parametrize(("english", "korean"), PAIRS.items())
def test_both_languages_have_the_same_items_and_commands(english: str, korean: str) -> None:
    """Korean and English have the same headings' levels, items, tests and commands, in the same order."""
    shapes = []

    for document in (PROJECT / english, PROJECT / korean):
        text = prose(document)
        commands = [
            (block.item, block.text, block.kinds, block.terminal, block.ask_again, bool(block.not_run))
            for block in blocks(document)
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
@pytest.mark.parametrize("document", TEXTS)
def test_the_text_says_where_to_ask_again(document: str) -> None:
    """Only where the text says so may the first answer be an old one."""
    lines = (PROJECT / document).read_text("utf-8").splitlines()

    silent = [
        number
        for number, line in enumerate(lines, 1)
        if "ask again" in line and line.startswith("<!--")
        if not re.search(r"\b[Aa]sk again\b|다시 (물어|확인|실행)", " ".join(lines[max(0, number - 5) : number - 1]))
    ]

    assert silent == []


@pytest.mark.prd("DOC-04")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize(("kind", "document"), typed())
def test_the_commands_of_a_document(kind: str, document: str, pause: float) -> None:
    """Typed one after the other in a fresh copy, the commands print what the document shows."""
    wrong = differences(run(kind, PROJECT / document, pause=pause))

    assert not wrong, wrong


@pytest.mark.prd("DOC-04")
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("item", verified("local"))
def test_verify(item: str, verify: Callable[[str, str], str]) -> None:
    """The item's Verify commands print what its text shows."""
    wrong = verify("local", item)

    assert not wrong, wrong


@pytest.mark.prd("DOC-04")
@pytest.mark.compose
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("item", verified("docker"))
def test_verify_with_docker(item: str, verify: Callable[[str, str], str]) -> None:
    """The same for the items of the containers."""
    wrong = verify("docker", item)

    assert not wrong, wrong
