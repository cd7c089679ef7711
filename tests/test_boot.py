"""Boot: the stages run in order, may skip, and are never cut in their middle without a word."""

import logging
import threading
import time

import pytest

from boot import Boot, ShutdownRequested, Skip, Stage, StartupError

DONE = Stage("first", lambda _: "did it")


def skip(_: object) -> str:
    raise Skip("REDIS_URL is not set")


def refuse(_: object) -> str:
    raise StartupError("the database is not there", 69)


def run(boot: Boot) -> bool:
    return boot.run([each.stage for each in boot.runs], None)


def states(boot: Boot) -> list[str]:
    return [each.state for each in boot.runs]


@pytest.mark.prd("BOOT-01")
def test_stages_run_in_order_and_may_skip(caplog: pytest.LogCaptureFixture) -> None:
    """A stage that has nothing to do says why, and the start is done when each is done or skipped."""
    caplog.set_level(logging.INFO)
    boot = Boot([DONE, Stage("second", skip), Stage("third", lambda _: "did it, too")])

    assert run(boot)

    assert boot.done
    assert states(boot) == ["done", "skipped", "done"]
    assert boot.runs[1].detail == "REDIS_URL is not set"
    assert "ready after 0.00 s: 2 stages done, 1 skipped" in caplog.text


@pytest.mark.prd("BOOT-01")
def test_the_parts_of_a_start() -> None:
    """The stages before the port and those behind it run separately, and only both make it done."""
    second = Stage("second", lambda service: f"given {service}")
    boot = Boot([DONE, second])

    first_part = boot.run([DONE], "the service")
    done_halfway = boot.done
    boot.run([second], "the service")

    assert (first_part, done_halfway, boot.done) == (True, False, True)
    assert boot.runs[1].detail == "given the service"


@pytest.mark.prd("BOOT-01")
def test_after_a_failure_no_stage_begins() -> None:
    """A stage that fails sets the exit code, and those after it stay pending."""
    boot = Boot([Stage("first", refuse), DONE])

    assert not run(boot)

    assert (boot.exit_code, boot.done) == (69, False)
    assert states(boot) == ["failed", "pending"]


@pytest.mark.prd("BOOT-04")
def test_progress_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    """A stage that takes long says how far it is: in its detail, and in the log."""
    caplog.set_level(logging.INFO)
    seen: list[str] = []

    def work(_: object) -> str:
        boot.report_progress("revision 3 of 7: add orders.email")
        seen.append(boot.runs[0].detail)
        return "7 revisions"

    boot = Boot([Stage("migrations", work)])
    run(boot)

    assert seen == ["revision 3 of 7: add orders.email"]
    assert "migrations: revision 3 of 7: add orders.email" in caplog.text
    assert boot.runs[0].detail == "7 revisions"


@pytest.mark.prd("EXIT-06")
def test_after_the_request_to_stop_no_stage_begins() -> None:
    """The request comes while a stage runs: that stage ends, and the next does not begin."""

    def work(_: object) -> str:
        boot.request_shutdown()
        return "did it"

    boot = Boot([Stage("first", work), DONE])

    assert not run(boot)

    assert states(boot) == ["done", "pending"]
    assert boot.exit_code == 0


@pytest.mark.prd("EXIT-06")
@pytest.mark.parametrize("error", [StartupError("too late", 69), ValueError("unlucky"), ShutdownRequested("row 5")])
def test_a_failure_while_stopping_is_no_exit_code(error: Exception) -> None:
    """What a stage raises after the request to stop leaves the exit code at 0."""

    def work(_: object) -> str:
        boot.request_shutdown()
        raise error

    boot = Boot([Stage("first", work)])

    assert not run(boot)

    assert boot.exit_code == 0


@pytest.mark.prd("EXIT-06")
@pytest.mark.parametrize(("grace", "exit_code"), [(0, 0), (0.05, 70), (30, None)])
def test_how_long_a_running_stage_may_go_on(grace: float, exit_code: int | None) -> None:
    """Without grace there is nothing to wait for; with it, exiting is allowed when it is used up, and then with 70."""
    begun, end = threading.Event(), threading.Event()

    def work(_: object) -> str:
        begun.set()
        end.wait(20)
        return "did it"

    boot = Boot([Stage("slow", work, grace=grace)])
    thread = threading.Thread(target=run, args=[boot])
    thread.start()
    begun.wait(20)
    boot.request_shutdown()

    allowed = boot.may_exit()
    deadline = time.monotonic() + 20
    while exit_code is not None and not (allowed := boot.may_exit()) and time.monotonic() < deadline:
        time.sleep(0.01)
    end.set()
    thread.join(20)

    assert (allowed, boot.exit_code) == (exit_code is not None, exit_code or 0)
    assert boot.may_exit()


@pytest.mark.prd("EXIT-02")
def test_an_unexpected_error_is_shown_without_its_text(caplog: pytest.LogCaptureFixture) -> None:
    """What the page shows is class and place; the text, which may be a driver's, is in the log's traceback alone."""

    def work(_: object) -> str:
        raise ValueError("the password is swordfish")

    boot = Boot([Stage("first", work)])
    run(boot)

    assert boot.exit_code == 70
    assert boot.runs[0].detail.startswith("unexpected ValueError at test_boot.py:")
    assert "swordfish" not in boot.runs[0].detail
    assert "swordfish" in caplog.text
