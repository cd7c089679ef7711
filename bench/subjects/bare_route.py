"""The limit for anything made with FastAPI: one async route that returns a constant, and nothing else.

Fair: it is the first example of FastAPI's tutorial. It waits for nothing and knows nothing, so it cannot be beaten by
a service that does the same work in the same way.
"""

from fastapi import FastAPI

app = FastAPI()


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}
