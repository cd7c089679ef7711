"""Read this first: the stages of the start, in order, and the application that they make.

`python main.py` runs the service and ends with an exit code that a restart policy understands:
0 stopped by SIGTERM or SIGINT, 65 the tables need a person, 69 a required component was not usable in time,
70 an unexpected error in a stage, 75 the tables could not be changed in time, 77 the database keeps refusing us,
78 wrong or missing settings.
`uvicorn main:app` works too, but you lose these exit codes.
"""

import gc
import logging
import os
import signal

if __name__ == "__main__":  # before the slow imports, so that SIGTERM ends the process with 0 from the first moment on
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    gc.disable()  # imports leave no garbage; looking for it takes a seventh of the start

from collections.abc import Callable, Sequence

from fastapi import APIRouter
from starlette.middleware import Middleware

from app import App
from boot import Boot, Skip, Stage
from health import Component, Health
from health_routes import read_metrics
from health_routes import router as health_router
from logs import configure_logging
from middleware import own_middleware
from page import router as page_router
from server import listen, serve
from service import Service
from settings import read_settings

# The stages. Each is given the service and returns a line for the log, /health and the page, or raises Skip.


def load_settings(service: Service) -> str:
    settings = service.settings = read_settings()
    service.health.details = settings.shows_details
    return f"{settings.app_name}, {settings.app_env}, MySQL at {settings.mysql_address}"


def set_up_logging(service: Service) -> str:
    settings, files = service.settings, []
    if settings.log_dir:
        from log_files import LogFiles

        files = [LogFiles(settings.log_dir, settings.log_keep_days)]
    configure_logging(settings.log_level, settings.log_format, *files)
    return f"{settings.log_level}, {settings.log_format}" + (f", also to {settings.log_dir}" if files else "")


def add_middleware(service: Service) -> str:
    """Your own middleware goes into the list that `create_app` is given."""
    app, settings = service.app, service.settings
    app.title = settings.app_name
    metrics = service.request_metrics if settings.metrics == "on" else None
    if metrics:
        app.probes["/metrics"] = read_metrics
    app.user_middleware[:] = [*own_middleware(settings, metrics), *service.middleware]  # the outermost first
    app.middleware_stack = app.build_middleware_stack()  # here, where an error in a constructor is one of this stage
    return ", ".join(str(getattr(middleware.cls, "__name__", middleware.cls)) for middleware in app.user_middleware)


def open_port(service: Service) -> str:
    if not service.own_port:
        raise Skip("the port belongs to the server that has loaded this application")
    settings = service.settings
    service.listener = listen(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"listening on http://{host}:{settings.port} (/, /health, /docs)"


def include_routers(service: Service) -> str:
    from database import Database  # imports SQLAlchemy, which takes longer than all before: the port is open meanwhile
    from docs import add_docs

    service.database = Database(service.settings, service.database_component)
    routers = [*service.routers()]
    if service.settings.jobs == "on":
        from jobs_api import router as jobs_router

        routers.append(jobs_router)
    gc.freeze()  # what is imported stays
    gc.enable()
    service.app.include_your_routers(routers)
    service.app.include_router(health_router)
    add_docs(service.app)
    service.app.router.default = service.app.router.not_found
    return ", ".join(dict.fromkeys(router.prefix or "/" for router in routers))


def wait_for_database(service: Service) -> str:
    from database import wait_for_db

    return wait_for_db(service)


def run_migrations(service: Service) -> str:
    from migrate import migrate

    return migrate(service)


def plant_seed_data(service: Service) -> str:
    from seed import plant

    return plant(service)


def connect_external_services(service: Service) -> str:
    if service.settings.redis_url is None:
        raise Skip("REDIS_URL is not set")
    from redis_ import connect_redis

    return connect_redis(service)


def start_background_tasks(service: Service) -> str:
    if service.settings.jobs == "off":
        raise Skip("JOBS is off")
    from scheduler import start_jobs

    return start_jobs(service)


BEFORE_PORT = (
    Stage("settings", load_settings),
    Stage("logging", set_up_logging),
    Stage("middleware", add_middleware),
    Stage("server", open_port),
)
BEHIND_PORT = (  # what is slow or has to wait: in a thread, while /health answers
    Stage("routers", include_routers),
    Stage("database", wait_for_database, grace=0),
    Stage("migrations", run_migrations, grace=60),
    Stage("seed data", plant_seed_data),
    Stage("external services", connect_external_services, grace=0),
    Stage("background tasks", start_background_tasks),
)


def your_routers() -> Sequence[APIRouter]:
    """Your endpoints: a module with a router goes in here."""
    import accounts
    import api

    return [api.router, accounts.router]


def create_app(
    routers: Callable[[], Sequence[APIRouter]] = your_routers,
    middleware: Sequence[Middleware] = (),
    before_port: Sequence[Stage] = BEFORE_PORT,
    behind_port: Sequence[Stage] = BEHIND_PORT,
) -> App:
    """Assembles the application and starts nothing. `middleware` is behind the access log, the outermost first."""
    boot = Boot([*before_port, *behind_port])
    database = Component("database")
    service = Service(boot, Health(boot, database), database, routers, middleware)
    app = App(service, before_port, behind_port)
    app.include_router(page_router)  # the page shows the start, so it is there from the beginning
    return app


def run(app: App) -> None:
    """Runs the service, and ends the process with its exit code."""
    exit_code = serve(app)
    logging.shutdown()  # writes what is waiting for a log file
    os._exit(exit_code)  # not sys.exit: that waits for threads, and one may be stuck in a frozen database


app = create_app()

if __name__ == "__main__":
    run(app)
