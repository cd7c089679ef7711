"""An application that starts without any trouble: to see how uvicorn itself ends."""

from fastapi import FastAPI

app = FastAPI()
