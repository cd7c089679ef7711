"""The page at `/`, seen with a real browser."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from browser import Visitor, axe_violations, chromium
from database_server import DatabaseServer
from playwright.sync_api import Browser, Page, expect
from ports import free_port
from process import Changed, Start
from proxy import Proxy

Visit = Callable[..., Visitor]
Act = Callable[[], None]

WORDS = {  # language: waiting, ready, down
    "en-GB": ("Waiting for the database", "Ready", "The database is down"),
    "ko-KR": ("데이터베이스를 기다리는 중", "준비 완료", "데이터베이스를 쓸 수 없음"),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of the page."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visit]:
    """Opens browsers: `visitor(locale="ko-KR")`. After the test none has met a mistake or asked another origin."""
    visitors: list[Visitor] = []

    def visitor(**preferences: Any) -> Visitor:
        visitors.append(Visitor(browser, **preferences))
        return visitors[-1]

    yield visitor
    for each in visitors:
        each.context.close()
        assert each.mistakes == []
        assert {re.sub(r":\d+/.*", "", url) for url in each.requests} == {"http://127.0.0.1"}


def headline(page: Page, text: str) -> None:
    """Waits until the page says in large letters what is the matter."""
    expect(page.get_by_role("heading", level=1)).to_have_text(text)


def strip(page: Page, status: str) -> str:
    """What is drawn of a status in the strip of the last minutes."""
    return page.locator(f"#strip .{status}").get_attribute("d") or ""


@pytest.mark.prd("PAGE-01")
@pytest.mark.parametrize("locale", WORDS)
def test_boot_outage_and_recovery(start: Start, proxy: Proxy, visitor: Visit, locale: str) -> None:
    """In the browser's language: a late database, then up, then an outage, then up again, without a reload."""
    waiting, ready, down = WORDS[locale]
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")
    page = visitor(locale=locale).visit(service.port)

    headline(page, waiting)
    expect(page.locator("#reason code")).to_have_text("connection_refused")
    expect(page.locator("#hint")).to_contain_text("MySQL is not accepting connections")
    expect(page.locator("#meaning")).to_contain_text(re.compile(r"\d.*69"))
    expect(page.locator("#attempts span")).to_have_text(re.compile(r"^[1-9]\d*$"))
    expect(page.locator("#stages li[data-state=running]")).to_have_count(1)
    proxy.heal()
    headline(page, ready)
    expect(page.locator("#stages li[data-state=done]")).to_have_count(7)
    expect(page.locator("#check span")).to_have_text(re.compile(r"^[\d.]+ ms$"))
    proxy.break_with("close")
    headline(page, down)
    expect(page.locator("#reason code")).to_have_text("connection_lost")
    expect(page.locator("#announcement")).to_contain_text(down)
    proxy.heal()
    headline(page, ready)
    expect(page.locator("#event")).to_contain_text(re.compile(r"Up again since|다시 연결"))

    assert page.evaluate("document.documentElement.lang") == locale[:2]
    assert all(strip(page, status) for status in ("waiting", "up", "down"))


@pytest.mark.prd("PAGE-01")
def test_frozen_database(start: Start, server: DatabaseServer, visitor: Visit) -> None:
    """A database that hangs is shown as such, and so is its return."""
    service = start()
    service.wait_until_ok()
    page = visitor().visit(service.port)
    headline(page, "Ready")

    server.freeze()
    headline(page, "The database is down")
    reason = page.locator("#reason").inner_text()
    server.thaw()
    headline(page, "Ready")

    assert reason.split("\n")[0].startswith("No answer in time")


@pytest.mark.prd("HEALTH-06")
def test_stuck_check(start: Start, changed: Changed, visitor: Visit) -> None:
    """A check that hangs beyond all its deadlines is not a database that is up."""
    stuck = changed("monitor.py", "connection.check(timeout)", "time.sleep(3600)")
    service = start(folder=stuck, DB_CHECK_TIMEOUT=0.5)
    service.wait_for(lambda body: body["database"]["status"] == "stale")

    page = visitor().visit(service.port)

    headline(page, "The database check is stuck")
    assert strip(page, "stale")


@pytest.mark.prd("PAGE-02")
def test_killed_and_started_again(start: Start, visitor: Visit) -> None:
    """When the process is gone the page says since when, and goes on with the new process, and says that it is new."""
    port = free_port()
    service = start(PORT=port)
    service.wait_until_ok()
    page = visitor().visit(port)
    headline(page, "Ready")

    service.end()
    headline(page, "Not answering")
    expect(page.locator("#meaning")).to_have_text(re.compile(r"Not answering since \d\d:\d\d:\d\d, retrying"))
    expect(page.get_by_role("table")).to_be_visible()
    start(PORT=port)
    headline(page, "Ready")

    expect(page.locator("#event")).to_contain_text("A new process: it started at")
    expect(page.locator("#announcement")).to_contain_text("A new process")


@pytest.mark.prd("PAGE-02")
def test_about_to_give_up(start: Start, visitor: Visit) -> None:
    """While the wait ends the page names the exit code that comes, and it still says so when the process is gone."""
    service = start(MYSQL_PORT=free_port(), DB_WAIT_TIMEOUT=6)
    service.wait_for_reason("connection_refused")
    page = visitor().visit(service.port)

    expect(page.get_by_role("row").and_(page.locator("[aria-current=true]"))).to_contain_text("69")
    code = service.exit_code()
    headline(page, "Not answering")

    assert code == 69
    expect(page.locator("#event")).to_contain_text("about to end with exit code 69")
    expect(page.locator("tr[aria-current=true]")).to_contain_text("by what it said last")


@pytest.mark.prd("PAGE-01")
def test_history_survives_a_reload(start: Start, proxy: Proxy, visitor: Visit) -> None:
    """The strip, the plot and the last changes are those of the process, not of the visit."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    proxy.break_with("refuse")
    service.wait_for_reason("connection_refused")
    proxy.heal()
    service.wait_until_ok()

    page = visitor().visit(service.port)
    headline(page, "Ready")
    page.reload()
    headline(page, "Ready")

    expect(page.locator("#changes li")).to_contain_text(["up", "down: Connection", "up", "waiting"])
    assert strip(page, "down")
    assert page.locator("#latency").get_attribute("d")


@pytest.mark.prd("PAGE-01")
def test_the_language_is_remembered(start: Start, visitor: Visit) -> None:
    """The switch works from the keyboard and counts for the next visit, and storage may be forbidden."""
    service = start()
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(service.port)
    headline(page, "Ready")

    page.get_by_role("button", name="한국어").focus()
    page.keyboard.press("Enter")
    headline(page, "준비 완료")
    page.reload()
    headline(page, "준비 완료")
    visit.context.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('no') }})")
    page.reload()

    headline(page, "Ready")


@pytest.mark.prd("PAGE-03")
@pytest.mark.parametrize("locale", WORDS)
def test_phone(start: Start, proxy: Proxy, visitor: Visit, locale: str) -> None:
    """On a screen of 320 pixels nothing is cut off or needs scrolling sideways, waiting, up and down."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port, APP_NAME="a-name-that-is-as-long-as-people-make-them-in-practice-" * 2)
    service.wait_for_reason("connection_refused")
    page = visitor(locale=locale, viewport={"width": 320, "height": 640}).visit(service.port)
    acts: list[Act] = [proxy.heal, lambda: proxy.break_with("refuse"), proxy.heal]
    widths = []

    for text, act in zip(WORDS[locale], acts, strict=True):
        headline(page, text)
        page.locator("summary").click()
        widths.append(page.evaluate("document.documentElement.scrollWidth"))
        act()

    assert widths == [320, 320, 320]


@pytest.mark.prd("PAGE-03")
@pytest.mark.parametrize("locale", WORDS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(start: Start, proxy: Proxy, visitor: Visit, scheme: str, locale: str) -> None:
    """axe-core finds nothing, contrast included, in light and dark: waiting, up, down and gone."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")
    page = visitor(locale=locale, color_scheme=scheme).visit(service.port)
    acts: list[Act] = [proxy.heal, lambda: proxy.break_with("refuse"), service.end]
    found = []

    for text, act in zip(WORDS[locale], acts, strict=True):
        headline(page, text)
        found += axe_violations(page)
        act()
    expect(page.get_by_role("table")).to_be_visible()
    found += axe_violations(page)

    assert found == []


@pytest.mark.prd("PAGE-03")
def test_nothing_jumps(start: Start, proxy: Proxy, visitor: Visit) -> None:
    """While it polls, nothing on the page moves; a change of state moves next to nothing."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")
    page = visitor(viewport={"width": 1100, "height": 1800}).visit(service.port)
    headline(page, "Waiting for the database")
    attempts = int(page.locator("#attempts span").inner_text())

    before = page.evaluate("shift")
    page.wait_for_function(
        "attempts => document.querySelector('#attempts span').textContent > attempts + 20", arg=attempts
    )
    while_polling = page.evaluate("shift") - before
    proxy.heal()
    headline(page, "Ready")
    page.wait_for_function("document.querySelector('#latency').getAttribute('d').includes('L')")

    assert while_polling == 0
    assert page.evaluate("shift") - before < 0.02


@pytest.mark.prd("PAGE-04")
def test_polls_never_pile_up(start: Start, visitor: Visit) -> None:
    """A service that accepts requests and answers none gets one at a time, and is picked up when it goes on."""
    service = start()
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(service.port)
    headline(page, "Ready")

    service.process.send_signal(signal.SIGSTOP)
    headline(page, "Not answering")
    asked = len(visit.requests)
    while len(visit.requests) < asked + 2:
        page.wait_for_timeout(50)
    service.process.send_signal(signal.SIGCONT)
    headline(page, "Ready")

    assert visit.most_polls_at_once == 1
    expect(page.locator("#event")).to_contain_text("The same process answers again")


@pytest.mark.prd("PAGE-04")
def test_a_hidden_tab_asks_nothing(start: Start, visitor: Visit) -> None:
    """In the background the page rests; brought to the front, it asks at once."""
    service = start()
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(service.port)
    headline(page, "Ready")

    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    while visit.polls_now:
        page.wait_for_timeout(20)
    asked = len(visit.requests)
    page.wait_for_timeout(3000)  # in which a visible page asks three times
    asked_while_hidden = len(visit.requests) - asked
    with visit.context.expect_event("request"):
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")

    assert asked_while_hidden == 0


@pytest.mark.prd("SEC-02")
def test_without_details(start: Start, proxy: Proxy, visitor: Visit) -> None:
    """HEALTH_DETAILS=false: the status and nothing else, on the page and in the history."""
    service = start(HEALTH_DETAILS="false", MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(service.port)

    headline(page, "Ready")
    proxy.break_with("refuse")
    headline(page, "The database is down")
    history = service.ask("/health/history").json

    expect(page.locator("#hidden-details")).to_be_visible()
    assert page.locator(".details:visible").count() == 0
    assert "refused" not in page.locator("body").inner_text()
    assert history == {"database": {"status": "down"}}
    assert not [url for url in visit.requests if url.endswith("/health/history")]


@pytest.mark.prd("PAGE-06")
def test_text_from_the_server_stays_text(start: Start, visitor: Visit) -> None:
    """HTML in a setting, in the details and in the hint, is shown as written and does nothing."""
    hostile = "<img/src=x/onerror=document.title='gone'>"
    service = start(MYSQL_HOST="<b>db", APP_NAME=hostile)
    service.wait_for_reason("dns_failed")

    page = visitor().visit(service.port)

    headline(page, "Waiting for the database")
    expect(page.locator("#hint")).to_contain_text("The name <b>db does not resolve")
    expect(page.locator("#stages")).to_contain_text(hostile)
    assert page.locator("img, b").count() == 0
    expect(page).to_have_title("Waiting for the database · FastAPI + MySQL")


@pytest.mark.prd("BOOT-03")
def test_before_the_routers(start: Start, slow_routers: Any, visitor: Visit) -> None:
    """The page is there as soon as the port is, while the slow stages have not begun to wait for a database."""
    service = start(folder=slow_routers)
    service.wait_for(lambda body: body["stages"][3]["state"] == "running")

    page = visitor().visit(service.port)
    headline(page, "Starting")
    slow_routers.joinpath("go").touch()

    headline(page, "Ready")


@pytest.mark.prd("PAGE-05")
def test_headers(start: Start) -> None:
    """The page may load and ask nothing but itself, cannot be framed, and answers GET and HEAD alone."""
    service = start()
    service.wait_until_ok()

    get, head, post = (service.ask("/", method) for method in ("GET", "HEAD", "POST"))
    policy = get.headers["Content-Security-Policy"]

    assert (get.status, head.status, post.status) == (200, 200, 405)
    assert get.headers["Content-Type"] == "text/html; charset=utf-8"
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert get.headers["X-Content-Type-Options"] == "nosniff"
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", get.text)


@pytest.mark.prd("HEALTH-08")
def test_history_says_what_was(start: Start, proxy: Proxy) -> None:
    """/health/history lists each change once, the oldest first, and the checks that succeeded."""
    service = start(MYSQL_PORT=proxy.port)
    service.wait_until_ok()
    proxy.break_with("refuse")
    service.wait_for_reason("connection_refused")

    history = json.loads(service.ask("/health/history").text)

    assert history["started_at"] == service.health()["started_at"]
    assert [change["status"] for change in history["changes"]] == ["waiting", "up", "down"]
    assert history["changes"][-1]["reason"] in ("connection_refused", "connection_lost")
    assert all(check["latency_ms"] > 0 for check in history["checks"])
