"""A real browser for the page: Debian's Chromium, driven by Playwright, and all that it asked for and complained of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Request, expect, sync_playwright

SECONDS = 30_000  # a machine under load may be slow; nothing waits for as long where it works
# Chromium itself writes a line for each answer that is not 2xx, and for none; it is not the page that complains.
OWN_LINE = "Failed to load resource: "


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser, which shows nothing on the screen."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "no Chromium is installed: apt-get install chromium"
    expect.set_options(timeout=SECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield browser
        browser.close()


class Visitor:
    """A person's browser: a language, a screen, and tabs that note every request, mistake and layout shift."""

    def __init__(self, browser: Browser, **preferences: Any) -> None:
        self.context: BrowserContext = browser.new_context(
            **{"locale": "en-GB", "viewport": {"width": 1100, "height": 1000}, **preferences}
        )
        self.context.set_default_timeout(SECONDS)
        self.context.add_init_script(
            "window.shift = 0; new PerformanceObserver(list => list.getEntries().forEach(entry => "
            "window.shift += entry.hadRecentInput ? 0 : entry.value)).observe({type: 'layout-shift', buffered: true})"
        )
        self.requests: list[str] = []
        self.mistakes: list[str] = []
        self.polls_now = self.most_polls_at_once = 0
        self.context.on("request", self._begin)
        self.context.on("requestfinished", self._end)
        self.context.on("requestfailed", self._end)
        self.context.on("weberror", lambda error: self.mistakes.append(str(error.error)))
        self.context.on("console", self._note)

    def _begin(self, request: Request) -> None:
        self.requests.append(request.url)
        self.polls_now += "/health" in request.url
        self.most_polls_at_once = max(self.most_polls_at_once, self.polls_now)

    def _end(self, request: Request) -> None:
        self.polls_now -= "/health" in request.url

    def _note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(OWN_LINE):
            self.mistakes.append(message.text)

    def visit(self, port: int) -> Page:
        page = self.context.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        return page


def axe_violations(page: Page) -> list[str]:
    """What axe-core finds against accessibility, contrast AA included: a line for each place."""
    violations = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in violations for node in each["nodes"]]
