"""The prestart-script way: `python prestart.py && exec uvicorn prestart:app`; a static health route.

Fair: FastAPI's own full-stack template waits so, with tenacity, 1 s between tries and 5 minutes in all.
"""

from common import select_1
from fastapi import FastAPI
from tenacity import retry, stop_after_attempt, wait_fixed


@retry(stop=stop_after_attempt(300), wait=wait_fixed(1))
def wait_for_db() -> None:
    select_1()


if __name__ == "__main__":
    wait_for_db()
    raise SystemExit

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
