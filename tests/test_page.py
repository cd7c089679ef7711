"""The page at `/`, seen with a real browser."""

import json
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Visitor, axe_violations, chromium
from database_server import DatabaseServer
from playwright.sync_api import Browser, Page, Route, expect
from ports import free_port
from process import Start
from proxy import Proxy

from health import Component
from mysql_faults import _HINTS, _NO_TCP_CONNECTION
from redis_faults import _HINTS as REDIS_HINTS

Visit = Callable[..., Visitor]
Act = Callable[[], None]

WORDS = {  # language: waiting, ready, down
    "en-GB": ("Waiting for the database", "Ready", "The database is down"),
    "ko-KR": ("데이터베이스 연결 대기 중", "준비 완료", "데이터베이스 연결 안 됨"),
}
GONE = "The service does not answer"
HANGUL = re.compile("[가-힣]")
ENGLISH = re.compile(r"[a-z]+ [a-z]+ [a-z]+")


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
    """What is drawn of a status of the database in the strip of the last minutes."""
    return page.locator(f".strip[role=img] .{status}").first.get_attribute("d") or ""


def hide(page: Page) -> None:
    """Puts the tab into the background."""
    page.evaluate("Object.defineProperty(document, 'hidden', {configurable: true, get: () => true})")
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


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
    expect(page.locator(".reason code")).to_have_text("connection_refused")
    expect(page.locator(".hint")).to_contain_text(re.compile("MySQL is not accepting|MySQL이 .*아직 연결을 받지"))
    expect(page.locator("#meaning")).to_contain_text(re.compile(r"\d.*69"))
    expect(page.locator(".facts")).to_contain_text(re.compile(r"attempt [1-9]|[1-9]번째 시도"))
    expect(page.locator("#stages li[data-state=running]")).to_have_count(1)
    proxy.heal()
    headline(page, ready)
    expect(page.locator("#stages li:not([data-state=done], [data-state=skipped])")).to_have_count(0)
    expect(page.locator(".facts")).to_contain_text(re.compile(r"^[\d.]+ ms"))
    expect(page.locator(".fault")).to_be_hidden()
    proxy.break_with("close")
    headline(page, down)
    expect(page.locator(".reason code")).to_have_text("connection_lost")
    expect(page.locator("#announcement")).to_contain_text(down)
    proxy.heal()
    headline(page, ready)
    expect(page.locator("#event")).to_contain_text(re.compile(r"is up again since|다시 연결"))

    assert page.evaluate("document.documentElement.lang") == locale[:2]
    assert all(strip(page, status) for status in ("waiting", "up", "down"))


@pytest.mark.prd("PAGE-01")
def test_frozen_database(start: Start, server: DatabaseServer, visitor: Visit) -> None:
    """Until a freeze is noticed nobody knows whether the database is up, and then it is down."""
    service = start(DB_CHECK_TIMEOUT=10)
    service.wait_until_ok()
    page = visitor().visit(service.port)
    headline(page, "Ready")
    # Two checks are known at once; only from the next ones the page knows how often one comes.
    page.wait_for_function("() => document.querySelector('.latency').getAttribute('d').split('L').length > 3")

    server.freeze()
    expect(page.locator(".strip[role=img] .gone")).to_have_attribute("d", re.compile("M"))
    while_nobody_knows = page.get_by_role("heading", level=1).inner_text()
    headline(page, "The database is down")
    reason = page.locator(".reason").inner_text()
    server.thaw()
    headline(page, "Ready")

    assert while_nobody_knows == "Ready"
    assert reason.startswith("No answer in time")
    assert strip(page, "gone")


@pytest.mark.prd("HEALTH-06")
def test_stuck_check(start: Start, visitor: Visit) -> None:
    """A check that hangs beyond all its deadlines is not a database that is up."""
    service = start(program="stuck_check")
    service.wait_for(lambda body: body["status"] == "unavailable")

    page = visitor().visit(service.port)

    headline(page, "The check of the database is stuck")
    assert strip(page, "stale")


def test_an_optional_component(start: Start, visitor: Visit, tmp_path: Path) -> None:
    """Without it the service is ready all the same; the page says what is missing, and why."""
    service = start(program="second_component optional")
    service.wait_for(lambda body: body["status"] == "degraded")

    page = visitor().visit(service.port)
    headline(page, "Ready, without switch")
    switch = page.locator("[data-component=switch]")
    expect(switch.locator(".fault")).to_contain_text("The switch is off.")
    expect(page.locator("[data-component=database] .status")).to_have_text("up")
    icon = page.locator("#icon").get_attribute("href")
    (tmp_path / "go").touch()
    headline(page, "Ready")

    expect(switch.locator(".fault")).to_be_hidden()
    expect(page.locator(".plot")).to_have_count(2)
    assert page.locator("#icon").get_attribute("href") != icon


@pytest.mark.prd("PAGE-07")
@pytest.mark.parametrize(
    ("locale", "words"),
    [("en-GB", ("succeeded", "failed", "next in", "switched off")), ("ko-KR", ("성공", "실패", "뒤 실행", "꺼짐"))],
)
def test_jobs(start: Start, server: DatabaseServer, visitor: Visit, locale: str, words: tuple[str, ...]) -> None:
    """The last run of each job and the next one are on the page, and follow the table without a reload."""
    service = start(program="jobs_of_tests", may_trace=True, JOBS="on")
    service.wait_until_ok()
    values = "('good', 'nothing', '@every 1s'), ('bad', 'failing', '@every 1s'), ('wrong', 'nothing', 'often')"
    server.sql(f"INSERT INTO app.scheduled_jobs (name, func, cron) VALUES {values}")
    succeeded, failed, next_in, switched_off = words

    page = visitor(locale=locale).visit(service.port)
    row = page.locator("#jobs li")
    expect(row.filter(has_text="good")).to_contain_text(succeeded)
    expect(row.filter(has_text="good")).to_contain_text(next_in)
    expect(row.filter(has_text="bad")).to_contain_text(failed)
    expect(row.filter(has_text="wrong")).to_contain_text("cron: has 1 fields")
    found = axe_violations(page)
    server.sql("UPDATE app.scheduled_jobs SET enabled = 0 WHERE name = 'good'")

    expect(row.filter(has_text="good")).to_contain_text(switched_off)
    assert found == []


def test_a_long_stage_shows_its_progress(start: Start, visitor: Visit) -> None:
    """While a stage is at work the page says which one, and how far it is."""
    service = start(program="careful_stage")
    service.wait_for_stage("careful")

    page = visitor(locale="ko-KR").visit(service.port)

    headline(page, "시작하는 중")
    expect(page.locator("#meaning")).to_contain_text("careful")
    expect(page.locator("#stages li[data-state=running] .detail")).to_have_text(re.compile(r"step \d+ of 1000"))


def test_everything_is_korean_on_the_korean_page(start: Start, visitor: Visit) -> None:
    """Hints and details are translated with the values in them, and what the page does not know stays as it is."""
    service = start()
    service.wait_until_ok()
    page = visitor(locale="ko-KR").visit(service.port)
    headline(page, "준비 완료")
    values = {"host": "db", "address": "db:3306", "user": "app", "database": "shop", "error": "OperationalError 1234"}
    stale = Component("database")
    stale.expect_check_within(-5)
    only_requests = {"deadlock", "lock_timeout", "read_only", "disk_full", "starting", "pool_exhausted"}
    hints = [text.format(**values) for reason, text in _HINTS.items() if reason not in only_requests]
    hints += [_NO_TCP_CONNECTION.format(**values), str(stale.snapshot.hint)]
    hints += [text.format(**values) for reason, text in REDIS_HINTS.items() if reason != "not_configured"]

    known = [page.evaluate("translated", text) for text in hints]
    details = [page.evaluate("translated", text) for text in ("REDIS_URL is not set", "attempt 7, 12 s left", "my own")]

    assert [text for text in known if not HANGUL.search(text) or ENGLISH.search(text)] == []
    assert details == ["REDIS_URL 설정이 없음", "7번째 시도, 12초 남음", "my own"]
    assert not [text for text in page.locator(".detail").all_inner_texts() if ENGLISH.search(text)]


@pytest.mark.prd("PAGE-02")
def test_killed_and_started_again(start: Start, visitor: Visit) -> None:
    """When the process is gone the page says since when, and goes on with the new process, and says that it is new."""
    port = free_port()
    service = start(PORT=port)
    service.wait_until_ok()
    page = visitor().visit(port)
    headline(page, "Ready")

    service.end()
    headline(page, GONE)
    expect(page.locator("#meaning")).to_have_text(re.compile(r"No answer since \d\d:\d\d:\d\d, retrying"))
    expect(page.locator("#event")).to_contain_text(re.compile(r"docker compose ps -a, or .* \./run local"))
    expect(page.get_by_role("row").filter(has_text="137")).to_be_visible()
    expect(page.locator("[data-component=database] .status")).to_have_text("unknown")
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
    headline(page, GONE)

    assert code == 69
    expect(page.locator("#event")).to_contain_text("about to end with exit code 69")
    expect(page.locator("tr[aria-current=true]")).to_contain_text("by what it said last")


@pytest.mark.prd("PAGE-02")
def test_stopped_while_it_waits(start: Start, visitor: Visit) -> None:
    """Who stops a service that waits is not told that it ended because of the database."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")
    page = visitor().visit(service.port)
    headline(page, "Waiting for the database")
    expect(page.locator("tr[aria-current=true]")).to_contain_text("69")

    code = service.terminate()
    headline(page, GONE)

    assert code == 0
    expect(page.locator("#event")).to_contain_text("before its wait was over: somebody stopped it (exit code 0)")
    expect(page.locator("tr[aria-current=true]")).to_have_count(0)


@pytest.mark.prd("PAGE-02")
def test_the_last_answer_was_stopping(start: Start, visitor: Visit) -> None:
    """A process that was stopping when it answered last has ended with 0, wait or not."""
    service = start(MYSQL_PORT=free_port())
    service.wait_for_reason("connection_refused")
    page = visitor().visit(service.port)

    gone = False

    def stopping(route: Route) -> None:
        if gone:
            return route.abort()
        route.fulfill(json={**route.fetch().json(), "status": "stopping"}, status=503)
        return None

    page.route("**/health", stopping)
    headline(page, "Stopping")
    gone = True
    headline(page, GONE)

    expect(page.locator("#event")).to_contain_text("ends with exit code 0")
    expect(page.locator("tr[aria-current=true] th")).to_have_text("0")


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

    expect(page.locator("#changes li")).to_contain_text(["up", "down, Connection", "up", "waiting"])
    assert strip(page, "down")
    assert page.locator(".latency").get_attribute("d")


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
        for summary in page.locator("summary").all():
            summary.click()
        widths.append(page.evaluate("document.documentElement.scrollWidth"))
        act()

    assert widths == [320, 320, 320]


@pytest.mark.prd("PAGE-03")
@pytest.mark.parametrize("locale", WORDS)
def test_the_stages_fit_one_screen(start: Start, visitor: Visit, locale: str) -> None:
    """On a phone ten stages are seen at once."""
    service = start()
    service.wait_until_ok()
    page = visitor(locale=locale, viewport={"width": 360, "height": 640}).visit(service.port)
    headline(page, WORDS[locale][1])

    height = page.evaluate("document.querySelector('#stages').parentElement.getBoundingClientRect().height")

    assert height / page.locator("#stages li").count() <= 640 / 10


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
    """While it polls, nothing on the page moves; a fault that goes leaves no hole, so what is below it moves once."""
    proxy.break_with("refuse")
    service = start(MYSQL_PORT=proxy.port)
    service.wait_for_reason("connection_refused")
    page = visitor(viewport={"width": 1100, "height": 1800}).visit(service.port)
    headline(page, "Waiting for the database")
    attempts = "parseInt(document.querySelector('.facts').textContent.match(/attempt (\\d+)/)[1])"
    page.wait_for_function(f"() => {attempts} > 9")

    before = page.evaluate("shift")
    page.wait_for_function(f"first => {attempts} > first + 20", arg=page.evaluate(attempts))
    while_waiting = page.evaluate("shift") - before
    proxy.heal()
    headline(page, "Ready")
    page.wait_for_function("() => document.querySelector('.latency').getAttribute('d').split('L').length > 1")
    before = page.evaluate("shift")
    page.wait_for_function("() => document.querySelector('.latency').getAttribute('d').split('L').length > 4")

    assert while_waiting == 0
    assert page.evaluate("shift") - before < 0.0001  # a moved line of text counts a hundred times as much


@pytest.mark.prd("PAGE-04")
def test_polls_never_pile_up(start: Start, visitor: Visit) -> None:
    """A service that accepts requests and answers none gets one at a time, and is picked up when it goes on."""
    service = start()
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(service.port)
    headline(page, "Ready")

    service.process.send_signal(signal.SIGSTOP)
    headline(page, GONE)
    asked = len(visit.requests)
    while len(visit.requests) < asked + 2:
        page.wait_for_timeout(50)
    service.process.send_signal(signal.SIGCONT)
    headline(page, "Ready")

    assert visit.most_polls_at_once == 1
    expect(page.locator("#event")).to_contain_text("The same process answers again")


@pytest.mark.prd("PAGE-04")
def test_a_hidden_tab_asks_slowly(start: Start, visitor: Visit) -> None:
    """In the background the page asks every ten seconds, so its title stays true; in front it asks at once."""
    port = free_port()
    service = start(PORT=port)
    service.wait_until_ok()
    visit = visitor()
    page = visit.visit(port)
    headline(page, "Ready")

    hide(page)
    began, asked = time.monotonic(), len(visit.requests)
    service.end()
    expect(page).to_have_title(re.compile(GONE))
    asked_while_hidden, seconds = len(visit.requests) - asked, time.monotonic() - began
    with visit.context.expect_event("request"):
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")

    assert asked_while_hidden <= seconds / 10 + 2  # one was planned already


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
    expect(page.locator(".hint")).to_contain_text("The name <b>db does not resolve")
    expect(page.locator("#stages")).to_contain_text(hostile)
    assert page.locator("img, b").count() == 0
    expect(page).to_have_title("Waiting for the database · FastAPI + MySQL")


@pytest.mark.prd("BOOT-03")
def test_before_the_routers(start: Start, visitor: Visit, tmp_path: Path) -> None:
    """The page is there as soon as the port is, while the slow stages have not begun to wait for a database."""
    service = start(program="late_routers")
    service.wait_for_stage("routers")

    page = visitor().visit(service.port)
    headline(page, "Starting")
    expect(page.locator("#meaning")).to_contain_text("is running: routers")
    (tmp_path / "go").touch()

    headline(page, "Ready")


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_documentation_without_internet(start: Start, browser: Browser, path: str) -> None:
    """Swagger UI and ReDoc show the endpoints where nothing but the service can be reached, and ask nobody else."""
    service = start()
    service.wait_until_ok()
    elsewhere: list[str] = []

    def refuse(route: Route) -> None:
        elsewhere.append(route.request.url)
        route.abort()

    with browser.new_context() as context:
        context.route(re.compile(r"^https?://(?!127\.0\.0\.1:)"), refuse)
        page = context.new_page()
        page.goto(f"http://127.0.0.1:{service.port}{path}")

        expect(page.get_by_text("/api/test").first).to_be_visible()
        page.wait_for_load_state("networkidle")

    assert elsewhere == []


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
    changes, checks = history["database"]["changes"], history["database"]["checks"]
    assert [change["status"] for change in changes] == ["waiting", "up", "down"]
    assert changes[-1]["reason"] in ("connection_refused", "connection_lost")
    assert all(check["latency_ms"] > 0 for check in checks)
