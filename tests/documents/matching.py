"""The matcher: whether what a command printed is what the document shows.

A line `…` stands for any lines, `‹1944›` or `…` inside a line for anything. Times, ports, pids and the like may differ.
"""

import re

# What differs from run to run and needs no mark: where a document shows one of these, any other may be seen.
VARYING = [
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z?",
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT",
    r"\b\d+(?:\.\d+)? (?:ms|s|seconds?|minutes?)\b",
    r"127\.0\.0\.1:(?!(?:8000|3306)\b)\d+",
    r"\b[0-9a-f]{32}\b",  # a request id
    r"\[\d+\]|pid \d+|kill (?:-\w+ )?\d+",
    r"attempt \d+|\d+ attempts?",
    r"\d+ routes?",  # of whoever adds an endpoint
    r" {2,}",  # a column is as wide as its entries
    r"content-length: \d+",
]
MARK = r"‹[^›]*›|…"
PART = re.compile("|".join(f"({pattern})" for pattern in [MARK, *VARYING]))


def pattern(line: str) -> str:
    """The regular expression for a line that a document shows."""
    parts, end = [], 0
    for part in PART.finditer(line := line.rstrip()):
        kind = part.lastindex or 1
        parts += [re.escape(line[end : part.start()]), ".*" if kind == 1 else f"(?:{VARYING[kind - 2]})"]
        end = part.end()
    return "".join(parts) + re.escape(line[end:]) + r"[ \t]*"


def difference(shown: list[str], seen: str) -> str:
    """The first line that is not as the document shows it, in words; empty where all is."""
    lines = seen.splitlines()
    # For each line shown: where in what was seen it may begin. After a line `…` that is anywhere further on.
    places = {0}
    for number, line in enumerate(shown):
        if line.strip() == "…":
            places = set(range(min(places), len(lines) + 1))
            continue
        same = re.compile(pattern(line))
        next_places = {at + 1 for at in places if at < len(lines) and same.fullmatch(lines[at])}
        if not next_places:
            if number and shown[number - 1].strip() == "…":
                return f"shown: {line}\nseen:  no such line in\n{seen.rstrip()}"
            at = min(places)
            return f"shown: {line}\nseen:  {lines[at] if at < len(lines) else '(nothing more)'}"
        places = next_places
    if len(lines) in places:
        return ""
    return f"shown: (nothing more)\nseen:  {lines[max(places)]}"
