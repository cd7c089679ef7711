"""Notes: what is sent is kept."""

import json

from process import Start

JSON = {"Content-Type": "application/json"}


def test_a_note_is_kept(start: Start) -> None:
    """It is there for the next request, which has a session of its own."""
    service = start()
    service.wait_until_ok()

    answer = service.ask("/api/notes", "POST", JSON, body=json.dumps({"text": "안녕"}))
    notes = service.ask("/api/notes").json

    assert answer.status == 201
    assert answer.json in notes
