"""Services as somebody else would make them: with routes, stages, middleware and intervals of their own.

`python programs.py NAME` runs one of them; `start(program="NAME")` does so in a test.
"""

import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from threading import Event, Thread
from threading import enumerate as enumerate_threads
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Request, Response, WebSocket
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily
from sqlalchemy import text
from sqlalchemy.orm import Session
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from accounts import current_admin
from app import App
from boot import ShutdownRequested, Stage
from database import Database, get_db, wait_for_db
from faults import Fault, Unavailable
from health import Component
from main import BEFORE_PORT, BEHIND_PORT, create_app, run, your_routers
from models import Account
from mysql import MySQL
from service import Service
from wait import Limits, wait_for
from watch import watch

Db = Annotated[Session, Depends(get_db)]
GO = Path("go")  # in the working directory; a program waits for this file where its name says so


def announce(what: str) -> None:
    print(what, flush=True)


def hang(_: Service) -> str:
    """Like a call that never returns: in naps, for Python hears no signal that comes just before one long sleep."""
    announce("hanging")
    while True:
        time.sleep(0.1)


def with_stage(stage: Stage, instead_of: str = "", after: str = "") -> App:
    """The service with one stage more, or with one replaced."""

    def changed(stages: Sequence[Stage]) -> list[Stage]:
        result: list[Stage] = []
        for each in stages:
            result.append(stage if each.name == instead_of else each)
            result.extend([stage] if each.name == after else [])
        return result

    return create_app(before_port=changed(BEFORE_PORT), behind_port=changed(BEHIND_PORT))


def with_routes(router: APIRouter) -> App:
    return create_app(routers=lambda: [*your_routers(), router])


def hanging_stage(name: str) -> App:
    """The stage of that name, with _ for each space, never ends, and leaves nothing half done."""
    name = name.replace("_", " ")
    return with_stage(Stage(name, hang, grace=0), instead_of=name)


def breaking_stage(_: str) -> App:
    def work(_: Service) -> str:
        return str(1 / 0)

    return with_stage(Stage("yours", work), after="routers")


def exiting_stage(_: str) -> App:
    def work(_: Service) -> str:
        sys.exit("the secret text of a library")

    return with_stage(Stage("yours", work), after="routers")


def slow_stage(seconds: str) -> App:
    """A stage between the wait for the database and the background tasks, which does not look at `stopping`."""

    def work(service: Service) -> str:
        announce("working")
        time.sleep(float(seconds))
        announce("worked")
        return "did something slow"

    return with_stage(Stage("slow", work, grace=20), after="database")


def stubborn_stage(_: str) -> App:
    """A stage that could leave something half done and never comes to an end."""

    def work(service: Service) -> str:
        service.boot.report_progress("step 2 of 3")
        return hang(service)

    return with_stage(Stage("stubborn", work, grace=0.5), after="database")


def careful_stage(_: str) -> App:
    """A stage that looks at `stopping` between its steps."""

    def work(service: Service) -> str:
        for step in range(1000):
            service.boot.report_progress(f"step {step} of 1000")
            if service.boot.stopping.wait(0.02):
                raise ShutdownRequested(f"stopped after step {step}")
        return "all steps"

    return with_stage(Stage("careful", work, grace=20), after="database")


def failing_while_stopping(_: str) -> App:
    def work(service: Service) -> str:
        announce("working")
        service.boot.stopping.wait()
        raise RuntimeError("the connection to something is gone")

    return with_stage(Stage("unlucky", work, grace=20), after="database")


def late_routers(_: str) -> App:
    """Its routers take until the file `go` appears."""

    def routers() -> Sequence[APIRouter]:
        while not GO.exists():
            time.sleep(0.01)
        return your_routers()

    return create_app(routers=routers)


def sleeping_statement(seconds: str) -> App:
    router = APIRouter()

    @router.get("/sleep")
    def sleep(db: Db) -> dict[str, Any]:
        return {"slept": db.scalar(text(f"SELECT SLEEP({seconds})"))}

    return with_routes(router)


def three_statements(_: str) -> App:
    """`/three` asks the database three things."""
    router = APIRouter()

    @router.get("/three")
    def three(db: Db) -> list[Any]:
        return [db.scalar(text(f"SELECT {number}")) for number in range(3)]

    return with_routes(router)


def killed_connection(_: str) -> App:
    """`/killed` loses its connection after it has used it."""
    router = APIRouter()

    @router.get("/killed")
    def killed(db: Db) -> None:
        number = db.scalar(text("SELECT CONNECTION_ID()"))
        database: Database = app.service.database
        with database.SessionLocal() as other:
            other.execute(text(f"KILL {number}"))

    app = with_routes(router)
    return app


def mistakes(_: str) -> App:
    """Endpoints that are wrong in the ways in which an endpoint can be wrong."""
    router = APIRouter()

    @router.get("/table")
    def table(db: Db) -> None:
        db.execute(text("SELECT * FROM no_such_table WHERE name = :name"), {"name": "confi" + "dential"})

    @router.get("/column")
    def column(db: Db) -> None:
        db.execute(text("CREATE TABLE IF NOT EXISTS a_table (id INT)"))
        db.execute(text("SELECT no_such_column, :name FROM a_table"), {"name": "confi" + "dential"})

    @router.get("/runtime")
    def runtime() -> None:
        raise RuntimeError("confi" + "dential")

    @router.get("/teapot")
    def teapot() -> None:
        raise HTTPException(418, "no coffee")

    return with_routes(router)


def deadlock(_: str) -> App:
    """`/deadlock` waits for a lock that somebody else holds."""
    router = APIRouter()

    @router.get("/lock/{first}/{second}")
    def lock(first: int, second: int, db: Db) -> None:
        db.execute(text("SET SESSION innodb_lock_wait_timeout = 1"))
        for row in (first, second):
            db.execute(text(f"UPDATE locked SET touched = touched + 1 WHERE id = {row}"))
            announce(f"locked {row}")
            while not GO.exists():
                time.sleep(0.01)

    return with_routes(router)


class Obstacle:
    """A middleware that is slow, broken and asks for a login: whatever somebody may add."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"].startswith("/api/test"):
            return await self._app(scope, receive, send)
        if scope["path"] == "/api/":
            return await PlainTextResponse("who are you?", 401)(scope, receive, send)
        time.sleep(1)
        raise RuntimeError("a broken middleware")


def obstacle(_: str) -> App:
    return create_app(middleware=[Middleware(Obstacle)])


def router_lifespan(_: str) -> App:
    """A router with a lifespan of its own, and a WebSocket endpoint that uses the database."""

    @asynccontextmanager
    async def lifespan(_: object) -> AsyncIterator[dict[str, str]]:
        announce("lifespan begins")
        yield {"greeting": "hello"}
        announce("lifespan ends")

    router = APIRouter(lifespan=lifespan)

    @router.websocket("/socket")
    async def socket(websocket: WebSocket, db: Db) -> None:
        await websocket.accept()
        await websocket.send_json({"one": db.scalar(text("SELECT 1")), "greeting": websocket.state.greeting})
        await websocket.close()

    return with_routes(router)


def unavailable_sockets(_: str) -> App:
    """`/socket/{when}`: a WebSocket endpoint that misses something it needs, before or after its accept or its end."""
    router = APIRouter()

    @router.websocket("/socket/{when}")
    async def socket(websocket: WebSocket, when: str) -> None:
        if when != "before_accept":
            await websocket.accept()
        if when == "after_close":
            await websocket.close()
        if when == "after_client":
            await websocket.receive()
        if when == "without_thread":
            raise RuntimeError("can't start new thread")
        raise Unavailable(Fault("connection_lost", "MySQL is restarting."))

    return with_routes(router)


def broken_ends(_: str) -> App:
    """Two routers and two closers: of each the one that ends first raises, and the other one announces its end."""

    @asynccontextmanager
    async def good_lifespan(_: object) -> AsyncIterator[None]:
        yield
        announce("the good lifespan ends")

    @asynccontextmanager
    async def broken_lifespan(_: object) -> AsyncIterator[None]:
        yield
        raise ValueError("the secret text of a library")

    def broken_close() -> None:
        raise KeyError("the secret text of a library")

    app = create_app(routers=lambda: [APIRouter(lifespan=good_lifespan), APIRouter(lifespan=broken_lifespan)])
    app.service.closers += [lambda: announce("the good closer ends"), broken_close]
    return app


class Switch:
    """A dependency that is up while the file `go` exists."""

    address = "switch:1"

    def check(self, seconds: float) -> float:
        if not GO.exists():
            raise Unavailable(Fault("connection_refused", "The switch is off.", reached_server=False))
        return 1.5


def second_component(kind: str) -> App:
    """A second dependency, which the service waits for where it is required, and watches in both cases."""

    def work(service: Service) -> str:
        component = service.health.add(Component("switch", required=kind == "required"))
        line = "optional"
        if component.required:
            line = wait_for(Switch(), component, service.health, Limits(timeout=3, max_delay=1, check_timeout=1))
        watch(Switch(), component, service.boot.stopping, interval=0.1, check_timeout=1)
        return line

    return with_stage(Stage("external services", work, grace=0), instead_of="external services")


def often_logging_in(_: str) -> App:
    """The database is watched by a new login at each check."""

    def work(service: Service) -> str:
        line = wait_for_db(service)
        mysql = MySQL(service.settings, login_every=0.1)
        watch(mysql, service.database_component, service.boot.stopping, 0.1, 2, mysql.wait_for_close)
        return line

    return with_stage(Stage("database", work, grace=0), instead_of="database")


def stuck_check(_: str) -> App:
    """The check of the database hangs beyond its deadline, from the second one on."""

    class Stuck(MySQL):
        def check(self, seconds: float) -> float:
            Event().wait()
            return 0.0

    def work(service: Service) -> str:
        service.database_component.publish("up", next_within=0.5, latency_ms=1)
        watch(Stuck(service.settings), service.database_component, service.boot.stopping, 1, 0.5)
        return "hangs from now on"

    return with_stage(Stage("database", work, grace=0), instead_of="database")


def thread_hungry(_: str) -> App:
    """`/threads` cannot start a thread, as in a container with a low pids_limit."""
    router = APIRouter()

    @router.get("/threads")
    async def threads() -> None:
        def no_thread(_: Thread) -> None:
            raise RuntimeError("can't start new thread")

        no_thread(Thread())

    return with_routes(router)


def untyped(_: str) -> App:
    """`/untyped` has no response model: FastAPI does not validate its answer in a worker thread."""
    router = APIRouter()

    @router.get("/untyped", response_model=None)
    def read_untyped(db: Db) -> dict[str, Any]:
        return {"database_time": str(db.scalar(text("SELECT NOW()")))}

    return with_routes(router)


def admins_only(_: str) -> App:
    """`/admins` answers with the name of an administrator who asks."""
    router = APIRouter()

    @router.get("/admins")
    def read_admins(account: Annotated[Account, Depends(current_admin)]) -> str:
        return account.name

    return with_routes(router)


def own_metrics(_: str) -> App:
    """A module with metrics of its own."""

    def collect() -> Iterator[Metric]:
        cups = CounterMetricFamily("cups_of_coffee", "Cups of coffee.", labels=["kind"])
        cups.add_metric(["black"], 7)
        yield cups

    app = create_app()
    app.service.collectors.append(collect)
    return app


def nested_routers(_: str) -> App:
    """A router in a router, a route of Starlette's own, and a mounted application."""
    inner = APIRouter(prefix="/{a}/inner")

    @inner.get("/{b}")
    def read(a: int, b: int) -> int:
        return a + b

    outer = APIRouter(prefix="/outer")
    outer.include_router(inner)
    app = with_routes(outer)

    async def plain(_: Request) -> PlainTextResponse:
        return PlainTextResponse("plain")

    app.router.routes += [Route("/plain/{c}", plain), Mount("/mounted", PlainTextResponse("mounted"))]
    return app


def who_asks(_: str) -> App:
    """`/who` answers who the client is and how it came, and sets two cookies and a header of its own."""
    router = APIRouter()

    @router.get("/who")
    def who(request: Request, response: Response) -> dict[str, Any]:
        response.set_cookie("a", "1")
        response.set_cookie("b", "2")
        response.headers["Referrer-Policy"] = "same-origin"
        return {"client": request.client and request.client.host, "scheme": request.url.scheme}

    return with_routes(router)


def loaded(_: str) -> App:
    """`/loaded` tells what this process has imported, and its threads."""
    router = APIRouter()

    @router.get("/loaded")
    def read_loaded() -> dict[str, list[str]]:
        return {"modules": sorted(sys.modules), "threads": [thread.name for thread in enumerate_threads()]}

    return with_routes(router)


def redis_user(_: str) -> App:
    """`/visits` sends one command to Redis, `/mistake` one that does not fit."""
    from redis import Redis

    from redis_ import get_redis

    router = APIRouter()

    @router.get("/visits")
    def count_visit(redis: Annotated[Redis, Depends(get_redis)]) -> dict[str, object]:
        return {"visits": redis.incr("visits")}

    @router.get("/mistake")
    def read_mistake(redis: Annotated[Redis, Depends(get_redis)]) -> dict[str, object]:
        redis.set("text", "text")
        return {"never": redis.incr("text")}

    return with_routes(router)


def jobs_of_tests(_: str) -> App:
    """Jobs that leave traces in the table `traces`, and jobs that go wrong."""
    from job_functions import Run, job

    def leave_trace(run: Run, what: str) -> None:
        values = {"job": run.job, "moment": run.scheduled_for, "what": what}
        with run.session.begin() as db:
            db.execute(text("INSERT INTO traces VALUES (:job, :moment, :what, UTC_TIMESTAMP(6))"), values)

    @job()
    def trace(run: Run, seconds: float = 0) -> None:
        leave_trace(run, "begin")
        Event().wait(seconds)  # not time.sleep, of which libfaketime makes a mistake now and then
        leave_trace(run, "end")

    @job(catch_up=True, rerun=True)
    def trace_again(run: Run, seconds: float = 0) -> None:
        trace(run, seconds)

    @job()
    def nothing(run: Run) -> None: ...

    @job()
    def polite(run: Run) -> None:
        run.stopping.wait(60)

    @job()
    def sloppy(run: Run) -> None:
        session = run.session()
        values = {"job": run.job, "moment": run.scheduled_for}
        session.execute(text("INSERT INTO traces VALUES (:job, :moment, 'begin', UTC_TIMESTAMP(6))"), values)
        raise ValueError("the session is still open")

    @job()
    def failing(run: Run) -> None:
        leave_trace(run, "begin")
        raise ValueError("the secret text of a library")

    return create_app()


# Each function of this module that makes an App of one text is a program.
PROGRAMS: dict[str, Callable[[str], App]] = {
    name: function
    for name, function in list(vars().items())
    if getattr(function, "__annotations__", {}).get("return") is App and function.__code__.co_argcount == 1
}

if __name__ == "__main__":
    run(PROGRAMS[sys.argv[1]](sys.argv[2] if len(sys.argv) > 2 else ""))
