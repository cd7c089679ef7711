"""The probe that HEALTHCHECK runs: `python probe.py` asks the running service and exits 0 (healthy) or 1 (not).

It has to start fast, so it needs the standard library alone.
"""

import http.client
import json
import os
import re
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

TIMEOUT = 3.0  # seconds
ENV_FILE = Path(__file__).parent.parent / ".env"


def main() -> int:
    """Prints in one line the service's status and what is wrong; 0 is healthy, 1 is anything else, silence included."""
    host = _setting("HOST") or "127.0.0.1"
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = _setting("PORT") or "8000"
    signal.signal(signal.SIGALRM, _raise_timeout)
    signal.setitimer(signal.ITIMER_REAL, TIMEOUT)
    try:
        connection = http.client.HTTPConnection(host, int(port))
        connection.request("GET", "/health")
        answer = connection.getresponse()
        line = _in_words(json.loads(answer.read()))
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as e:
        print(f"no answer: {host}:{port} is not a running service ({type(e).__name__})")
        return 1
    print(line)
    return 0 if answer.status == 200 else 1


def _in_words(body: dict[str, Any]) -> str:
    """The status; then of each component its name and status, and where it is not up, reason and hint."""
    components = {name: part for name, part in body.items() if isinstance(part, dict) and "status" in part}
    parts = []
    for name, component in components.items():
        words = [f"{name} {component['status']}", component.get("reason"), component.get("hint")]
        parts.append(": ".join(word for word in words if word))
    return f"{body['status']}: {'; '.join(parts)}"


def _setting(name: str) -> str:
    """From the environment, else from `.env`, as the service itself reads it."""
    if name in os.environ:
        return os.environ[name].strip()
    with suppress(OSError, UnicodeDecodeError):
        lines = re.findall(rf"^\s*(?:export\s+)?{name}\s*=\s*(.*?)\s*$", ENV_FILE.read_text("utf-8-sig"), re.MULTILINE)
        return re.sub(r"\s+#.*", "", lines[-1]).strip("'\"") if lines else ""
    return ""


def _raise_timeout(*_: object) -> None:
    raise TimeoutError


if __name__ == "__main__":
    sys.exit(main())
