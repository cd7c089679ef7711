"""What the documents do with Docker is as they show it."""

from collections.abc import Callable

import pytest
from guide import PROJECT, blocks, differences, run
from prd import ENGLISH, PAIRS

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1600), pytest.mark.prd("DOC-04")]

OTHER_THAN_ITEMS = [
    text
    for text in PAIRS
    if PROJECT / text != ENGLISH and any(block.run_in("docker") for block in blocks(PROJECT / text))
]
VERIFIED = sorted({block.item for block in blocks(ENGLISH) if block.item and block.run_in("docker")})


@pytest.mark.parametrize("document", OTHER_THAN_ITEMS)
def test_the_commands_of_a_document_with_docker(document: str) -> None:
    """Typed one after the other in a fresh copy, the commands print what the document shows."""
    wrong = differences(run("docker", PROJECT / document))

    assert not wrong, wrong


@pytest.mark.parametrize("item", [pytest.param(item, id=item, marks=pytest.mark.prd(item)) for item in VERIFIED])
def test_verify_with_docker(item: str, verify: Callable[[str, str], str]) -> None:
    """The item's Verify commands print what its text shows."""
    wrong = verify("docker", item)

    assert not wrong, wrong
