"""The matcher of the documents."""

import pytest
from matching import difference


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("ok: database up", "ok: database up\n"),
        ("", ""),
        ("…", "anything\nat all\n"),
        ("first\n…\nlast", "first\nlast\n"),
        ("first\n…\nlast", "first\nlast\nmore\nlast\n"),
        ("attempts ‹64›, more …", "attempts 7, more words\n"),
        ("2026-11-21T03:20:27.732Z up after 7.1 s, attempt 72", "2031-01-02T00:00:00.000Z up after 12 s, attempt 1\n"),
        ("exit code 0, pid 1234", "exit code 0, pid 5678\n"),
        ("routers: done, 2 routes in /api (3 ms)", "routers: done, 5 routes in /api (4 ms)\n"),
        ("NAME    STATUS", "NAME  STATUS   \n"),
    ],
)
def test_as_shown(shown: str, seen: str) -> None:
    """Marks stand for anything; times, pids and counts of attempts may differ."""
    assert difference(shown.splitlines(), seen) == ""


@pytest.mark.parametrize(
    ("shown", "seen", "words"),
    [
        ("a\nb\nc", "a\nx\nc\n", "shown: b\nseen:  x"),
        ("a\nb", "a\n", "shown: b\nseen:  (nothing more)"),
        ("a", "a\nb\n", "shown: (nothing more)\nseen:  b"),
        ("…\nb", "a\nc\n", "shown: b\nseen:  no such line in\na\nc"),
        ("exit code 0", "exit code 69\n", "shown: exit code 0\nseen:  exit code 69"),
        (
            "http://127.0.0.1:8000/",
            "http://127.0.0.1:8080/\n",
            "shown: http://127.0.0.1:8000/\nseen:  http://127.0.0.1:8080/",
        ),
    ],
)
def test_the_first_line_that_differs_is_named(shown: str, seen: str, words: str) -> None:
    """The message is that line, not all of them."""
    assert difference(shown.splitlines(), seen) == words
