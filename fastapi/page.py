"""The page at `/`: `status.html`, read once, and headers that forbid it all but its own script, style and `/health`."""

import re
from base64 import b64encode
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

_text = Path(__file__).with_name("status.html").read_text("utf-8")  # with \n alone, as browsers hash it
PAGE = _text.encode()


def _hash_of(element: str) -> str:
    [content] = re.findall(f"<{element}>(.*?)</{element}>", _text, re.DOTALL)
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


PAGE_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": f"default-src 'none'; script-src {_hash_of('script')}; style-src {_hash_of('style')}; "
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}

router = APIRouter()


@router.head("/", include_in_schema=False)
@router.get("/", include_in_schema=False)
async def read_page() -> Response:
    """The page that shows the start, the components and their history."""
    return Response(PAGE, 200, PAGE_HEADERS, "text/html")
