"""The items of PRD/fastapi-bootstrapping.md, the tests that name them, and the checklist of `./test prd`."""

import ast
import os
import re
from collections import defaultdict
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from document import blocks
from reader import PAUSE, PROJECT, Step, differences, run

ENGLISH = PROJECT / "PRD" / "fastapi-bootstrapping.en.md"
KOREAN = PROJECT / "PRD" / "fastapi-bootstrapping.md"
PAIRS = {  # the texts in English, whose commands are run, and in Korean
    "README.md": "README.ko.md",
    "PRD/fastapi-bootstrapping.en.md": "PRD/fastapi-bootstrapping.md",
    "PRD/fastapi-bootstrap-process.en.md": "PRD/FastAPI-부트스트랩-과정-설명.md",
    "PRD/labs.en.md": "PRD/labs.md",
    "PRD/your-own-code.en.md": "PRD/your-own-code.md",
}
OTHER_THAN_ITEMS = [text for text in PAIRS if PROJECT / text != ENGLISH]


class Item(NamedTuple):
    """A requirement: its id, its title, and the tests that the text gives as its proof."""

    id: str
    title: str
    tests: list[str]


class Proof(NamedTuple):
    """A test function and the items that it names."""

    id: str
    items: set[str]


def items(document: Path) -> list[Item]:
    """The items of a language's requirements, in their order."""
    found: list[Item] = []
    for line in document.read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"### ([A-Z]+-\d+) (.+)", line):
            found.append(Item(heading[1], heading[2], []))
        elif found and re.match(r"(Test|테스트): ", line):
            found[-1].tests.extend(re.findall(r"`(tests/[^`]+)`", line))
    return found


def verified(kind: str) -> list[Any]:
    """The ids of the items that have commands in that pass, as parameters of a test that proves each."""
    ids = {block.item for block in blocks(ENGLISH) if block.item and block.run_in(kind)}
    return [pytest.param(id, id=id, marks=pytest.mark.prd(id)) for id in sorted(ids)]


def proofs() -> list[Proof]:
    """All tests of the suite with the items that they name, read from the files: whatever is run just now."""
    found = []
    for file in sorted((PROJECT / "tests").rglob("test_*.py")):
        module = ast.parse(file.read_text("utf-8"))
        of_all = {name for node in module.body if isinstance(node, ast.Assign) for name in _named(node.value)}
        found += [
            Proof(f"{file.relative_to(PROJECT)}::{node.name}", of_all.union(*map(_named, node.decorator_list)))
            for node in module.body
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        ]
    return found


def _named(node: ast.expr) -> set[str]:
    """The ids in each `pytest.mark.prd(...)` of an expression."""
    calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
    marks = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "prd"]
    return {str(id.value) for mark in marks for id in mark.args if isinstance(id, ast.Constant)}


def _ids(test: pytest.Item) -> set[str]:
    return {str(id) for mark in test.iter_markers("prd") for id in mark.args}


@pytest.fixture(scope="session")
def pause(request: pytest.FixtureRequest) -> float:
    """The seconds between two commands of a document."""
    return float(request.config.getoption("--pause"))


@pytest.fixture(scope="session")
def verify(request: pytest.FixtureRequest, pause: float) -> Callable[[str, str], str]:
    """`verify("local", "BOOT-01")` says what the item's commands did not print as shown.

    All items that this session asks for are run at once, next to one service, as their reader would do it.
    """
    collected = [test for test in request.session.items if isinstance(test, pytest.Function)]
    asked = [str(test.callspec.params["item"]) for test in collected if "verify" in test.fixturenames]

    @cache
    def steps(kind: str) -> list[Step]:
        return run(kind, ENGLISH, asked, pause)

    return lambda kind, item: differences(step for step in steps(kind) if step.item in ("", item))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--prd WAIT` runs what proves the items WAIT-…, and ends with their checklist. `--prd ''` takes all."""
    parser.addoption("--prd", metavar="ID", help="the items whose id begins so, with a checklist")
    parser.addoption(
        "--pause", metavar="SECONDS", default=PAUSE, help="between two commands of a document: 4 is a slow reader"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Takes the tests that name a wanted item, and gives the ids on to the reports."""
    for test in items:
        test.user_properties.append(("prd", sorted(_ids(test))))
    wanted = config.getoption("--prd")
    if wanted:
        chosen = [test for test in items if any(id.startswith(wanted) for id in _ids(test))]
        config.hook.pytest_deselected(items=[test for test in items if test not in chosen])
        items[:] = chosen


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the checklist."""
    wanted = config.getoption("--prd")
    if wanted is None:
        return
    outcomes: dict[str, set[str]] = defaultdict(set)
    for outcome in ("passed", "failed", "error"):
        for report in terminalreporter.stats.get(outcome, []):
            for id in _reported(report):
                outcomes[id].add("passed" if outcome == "passed" else "failed")
    document = KOREAN if os.environ.get("LANG", "").startswith("ko") else ENGLISH
    listed = [item for item in items(document) if item.id.startswith(wanted)]
    terminalreporter.section(str(document.relative_to(PROJECT)))
    for item in listed:
        terminalreporter.line(f"{_sign(outcomes[item.id])} {item.id:<10} {item.title}")
    signs = [_sign(outcomes[item.id]) for item in listed]
    words = {"✓": "proved", "✗": "failed", "·": "not run here (./test compose needs a Docker engine)"}
    terminalreporter.line("\n" + ", ".join(f"{signs.count(sign)} {word}" for sign, word in words.items()))


def _reported(report: pytest.TestReport | pytest.CollectReport) -> list[str]:
    properties = getattr(report, "user_properties", ())  # which the report of a module that does not load has not
    return [id for name, ids in properties if name == "prd" for id in ids]


def _sign(outcomes: set[str]) -> str:
    return "✗" if "failed" in outcomes else "✓" if outcomes else "·"


@pytest.hookimpl(optionalhook=True)
def pytest_html_report_title(report: object) -> None:
    """The title of the HTML report."""
    report.title = "FastAPI bootstrap: what was proved"  # type: ignore[attr-defined]


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_header(cells: list[str]) -> None:
    """A column for the items."""
    cells.insert(1, '<th class="sortable" data-column-type="item">Item</th>')


@pytest.hookimpl(optionalhook=True)
def pytest_html_results_table_row(report: pytest.TestReport, cells: list[str]) -> None:
    """The items of a test."""
    cells.insert(1, f"<td>{', '.join(_reported(report))}</td>")
