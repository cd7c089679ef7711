"""An application that cannot be imported: the process must not end with 0."""

from fastapi import FastAPI

app = FastAPI()

raise RuntimeError("a mistake at import time")
