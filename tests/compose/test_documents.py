"""What the documents do with Docker is as they show it."""

from collections.abc import Callable

import pytest
from guide import PROJECT, differences, run
from prd import OTHER_THAN_ITEMS, verified

pytestmark = [pytest.mark.compose, pytest.mark.timeout(1600), pytest.mark.prd("DOC-04")]


@pytest.mark.parametrize("document", OTHER_THAN_ITEMS)
def test_the_commands_of_a_document_with_docker(document: str) -> None:
    """Typed one after the other in a fresh copy, the commands print what the document shows."""
    wrong = differences(run("docker", PROJECT / document))

    assert not wrong, wrong


@pytest.mark.parametrize("item", verified("docker"))
def test_verify_with_docker(item: str, verify: Callable[[str, str], str]) -> None:
    """The item's Verify commands print what its text shows."""
    wrong = verify("docker", item)

    assert not wrong, wrong
