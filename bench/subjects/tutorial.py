"""The tutorial way: wait for the database when the module is imported, 10 tries 2 s apart; a static health route.

Fair: this loop is in very many tutorials and answers, with these or like numbers. When it has given up, the benchmark
starts it again 0.1 s later, as Docker's `restart: on-failure` does.
"""

import time

from common import select_1
from fastapi import FastAPI
from sqlalchemy.exc import OperationalError

for _ in range(10):
    try:
        select_1()
        break
    except OperationalError:
        time.sleep(2)
else:
    raise SystemExit("the database does not come up")

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
