"""Commands beside the service: settings, the wait for the database, one step, and an exit code as the service has."""

import logging
import os
import signal
from threading import Thread

from boot import Boot, Stage
from health import Component, Health
from logs import configure_logging
from mysql import MySQL
from service import Service
from settings import early_log_format, read_settings
from wait import Limits, wait_for

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)

log = logging.getLogger(__name__)


def load_settings(service: Service) -> str:
    """The stage: what to connect to."""
    service.settings = read_settings()
    return f"{service.settings.mysql_user} at {service.settings.mysql_address}"


def wait_for_database(service: Service) -> str:
    """The stage, as in the service, without watching it afterwards."""
    settings = service.settings
    limits = Limits(settings.db_wait_timeout, settings.db_wait_max_delay, settings.db_check_timeout)
    return wait_for(MySQL(settings), service.database_component, service.health, limits)


def run_command(step: Stage) -> int:
    """Runs the step as a stage of the service, in a thread, while this one hears of SIGTERM. Returns the exit code.

    Where it is stopped before the step is done that is 75, not 0: who waits for its end must not take it for done.
    """
    configure_logging("INFO", early_log_format())
    stages = Stage("settings", load_settings), Stage("database", wait_for_database, grace=0), step
    boot, component = Boot(stages), Component("database")
    service = Service(boot, Health(boot, component), component, list, ())
    thread = Thread(target=boot.run, args=(stages, service), daemon=True)

    def request_shutdown(*_: object) -> None:
        for number in STOP_SIGNALS:  # a second one would wait for a lock that this thread may hold
            signal.signal(number, signal.SIG_IGN)
        boot.request_shutdown()

    for number in STOP_SIGNALS:
        signal.signal(number, request_shutdown)
    thread.start()
    while thread.is_alive() and not (boot.stopping.is_set() and boot.may_exit()):
        thread.join(0.1)
    if boot.exit_code == os.EX_OK and boot.stopping.is_set() and boot.runs[-1].state != "done":
        log.warning("stopped before it was done, exit code %d", os.EX_TEMPFAIL)
        return os.EX_TEMPFAIL
    return boot.exit_code
