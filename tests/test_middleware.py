"""What is in front of the endpoints: whom we believe, which sites may read us, and the headers of each answer."""

from collections.abc import Iterator

import pytest
from browser import Visitor, chromium
from process import Start

ORIGIN = "https://www.example.com"


@pytest.mark.parametrize(
    ("trusted", "forwarded", "client", "scheme"),
    [
        (None, "1.2.3.4", "127.0.0.1", "http"),
        ("10.0.0.0/8", "1.2.3.4", "127.0.0.1", "http"),
        ("127.0.0.0/8", "1.2.3.4", "1.2.3.4", "https"),
        ("127.0.0.1,10.0.0.0/8", "6.6.6.6, 1.2.3.4, 10.0.0.5", "1.2.3.4", "https"),
    ],
    ids=["nobody is trusted", "another network is", "the peer is", "a chain whose beginning is made up"],
)
def test_who_the_client_is(start: Start, trusted: str | None, forwarded: str, client: str, scheme: str) -> None:
    """X-Forwarded-For and X-Forwarded-Proto count from TRUSTED_PROXIES alone, back to the first that is not one."""
    service = start(program="who_asks", TRUSTED_PROXIES=trusted)
    service.wait_until_ok()

    answer = service.ask("/who", headers={"X-Forwarded-For": forwarded, "X-Forwarded-Proto": "https"})

    assert answer.json == {"client": client, "scheme": scheme}


@pytest.mark.parametrize("path", ["/api/", "/api/test", "/nobody", "/docs", "/openapi.json"])
def test_security_headers(start: Start, path: str) -> None:
    """Whatever is answered has them, once each."""
    service = start()
    service.wait_until_ok()

    headers = service.ask(path).headers

    assert headers.get_all("X-Content-Type-Options") == ["nosniff"]
    assert headers.get_all("Referrer-Policy") == ["no-referrer"]
    assert headers.get_all("Content-Security-Policy") == ["frame-ancestors 'none'"]


def test_security_headers_of_a_mistake(start: Start) -> None:
    """An endpoint that fails is answered with them, too."""
    service = start(program="mistakes", may_trace=True)
    service.wait_until_ok()

    answer = service.ask("/runtime")

    assert (answer.status, answer.headers["X-Content-Type-Options"]) == (500, "nosniff")


def test_headers_of_an_endpoint_stay(start: Start) -> None:
    """What an endpoint sets itself is neither replaced nor lost."""
    service = start(program="who_asks")
    service.wait_until_ok()

    headers = service.ask("/who").headers

    assert headers.get_all("Referrer-Policy") == ["same-origin"]
    assert len(headers.get_all("Set-Cookie") or []) == 2


def test_cors_is_off_by_default(start: Start) -> None:
    """No other site's page may read an answer."""
    service = start()
    service.wait_until_ok()

    assert service.ask("/api/", headers={"Origin": ORIGIN}).headers["Access-Control-Allow-Origin"] is None


def test_cors_of_exact_origins(start: Start) -> None:
    """The origins that are named may read answers and send tokens; one that only begins like them may not."""
    service = start(CORS_ORIGINS=f"{ORIGIN},http://localhost:5173")
    service.wait_until_ok()
    asking = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}

    named, other = (service.ask("/api/", headers={"Origin": origin}).headers for origin in (ORIGIN, ORIGIN + ".evil"))
    preflight = service.ask("/api/", "OPTIONS", {"Origin": ORIGIN, **asking})

    assert named["Access-Control-Allow-Origin"] == ORIGIN
    assert "X-Request-ID" in named["Access-Control-Expose-Headers"]
    assert named["Access-Control-Allow-Credentials"] is None
    assert other["Access-Control-Allow-Origin"] is None
    assert (preflight.status, preflight.headers["Access-Control-Allow-Headers"]) == (200, "authorization")


def test_cors_with_credentials(start: Start) -> None:
    """CORS_CREDENTIALS=true lets the named origins send cookies."""
    service = start(CORS_ORIGINS=ORIGIN, CORS_CREDENTIALS="true")
    service.wait_until_ok()

    headers = service.ask("/api/", headers={"Origin": ORIGIN}).headers

    assert headers["Access-Control-Allow-Credentials"] == "true"


@pytest.fixture
def visitor() -> Iterator[Visitor]:
    with chromium() as browser:
        visitor = Visitor(browser)
        yield visitor
        visitor.context.close()


def test_the_docs_go_on_working(start: Start, visitor: Visitor) -> None:
    """With these headers a browser shows both documents of the API, and complains of nothing."""
    service = start()
    service.wait_until_ok()
    page = visitor.context.new_page()

    page.goto(f"http://127.0.0.1:{service.port}/docs")
    page.get_by_text("/api/test").first.wait_for()
    page.goto(f"http://127.0.0.1:{service.port}/redoc")
    page.get_by_text("/api/test").first.wait_for()

    assert visitor.mistakes == []
