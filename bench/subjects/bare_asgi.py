"""The limit for anything behind uvicorn: an ASGI callable that sends a constant, without any framework.

Fair: whatever this leaves over is the price of uvicorn, HTTP and the load generator, which all subjects pay.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
BODY = b'{"status":"ok"}'
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))],
}


async def app(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """Answers every HTTP request alike. uvicorn takes the exception at its start as "no lifespan here"."""
    assert scope["type"] == "http"
    await send(START)
    await send({"type": "http.response.body", "body": BODY})
