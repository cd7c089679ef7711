"""Redis may be missing, slow or broken: the service says so, and nothing that does not need it gets slower."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import certificates
import pytest
from ports import free_port
from process import Answer, Service, Start, stage
from proxy import Proxy
from redis_server import RedisServer

from redis_address import RedisAddress

BAD_URL = "REDIS_URL is not an address of the form redis://user:password@host:port/number"


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """A running Redis."""
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.kill()


def is_in(status: str, reason: str | None = None) -> Callable[[Any], bool]:
    """Whether /health is in that status, Redis being in a state with that reason."""
    return lambda body: body["status"] == status and body.get("redis", {}).get("reason") == reason


@pytest.mark.prd("RED-01")
def test_without_an_address_redis_is_not_there(start: Start) -> None:
    """No REDIS_URL: the stage is skipped and says why, /health has no redis, and an endpoint that wants it gets 503."""
    service = start(program="redis_user")

    body = service.wait_until_ok()
    answer = service.ask("/visits")

    assert stage(body, "external services")["detail"] == "REDIS_URL is not set"
    assert "redis" not in body
    assert (answer.status, answer.json["reason"]) == (503, "not_configured")


@pytest.mark.prd("RED-01")
def test_what_is_off_is_not_imported(start: Start) -> None:
    """Without REDIS_URL neither the library nor our module is imported, and no thread watches anything."""
    service = start(program="loaded")
    service.wait_until_ok()

    loaded = service.ask("/loaded").json

    assert not {"redis", "redis_", "redis_faults"} & set(loaded["modules"])
    assert "watch redis" not in loaded["threads"]


def test_an_endpoint_uses_redis(start: Start, redis: RedisServer) -> None:
    """The password may hold any characters; the component is up; a wrong command is a 500, not an outage."""
    service = start(program="redis_user", may_trace=True, REDIS_URL=redis.url)

    body = service.wait_until_ok()
    answers = [service.ask("/visits").json["visits"] for _ in range(3)]
    mistake = service.ask("/mistake")

    assert (body["redis"]["status"], body["redis"]["required"]) == ("up", False)
    assert body["redis"]["latency_ms"] > 0
    assert answers == [1, 2, 3]
    assert mistake.status == 500
    assert redis.password not in service.everything_said


@pytest.mark.prd("RED-02")
def test_a_missing_redis_does_not_delay_the_start(start: Start) -> None:
    """Nothing listens: the service gets ready, degraded, with the reason; endpoints without Redis answer."""
    service = start(program="redis_user", REDIS_URL=f"redis://127.0.0.1:{free_port()}")

    body = service.wait_for(is_in("degraded", "connection_refused"))
    health, other, request = (service.ask(path) for path in ("/health", "/api/", "/visits"))

    assert stage(body, "external services")["seconds"] < 0.8  # a quarter second, and what a busy machine adds
    assert (health.status, other.status) == (200, 200)
    assert (request.status, request.json["reason"]) == (503, "connection_refused")


@pytest.mark.prd("RED-02")
def test_a_black_hole_does_not_delay_the_start(start: Start, redis: RedisServer) -> None:
    """Redis accepts and never answers: the stage takes a quarter second, and /health says timeout in time."""
    redis.freeze()
    service = start(program="redis_user", REDIS_URL=redis.url)

    body = service.wait_for(is_in("degraded", "timeout"))

    assert stage(body, "external services")["seconds"] < 0.8  # a quarter second, and what a busy machine adds


@pytest.mark.prd("RED-02")
def test_a_frozen_redis_costs_each_request_at_most_a_second(start: Start, redis: RedisServer) -> None:
    """Sixty clients at once: none waits longer than a second, none gets a 500, and it heals by itself."""
    service = start(program="redis_user", REDIS_URL=redis.url)
    service.wait_until_ok()
    service.ask("/visits")

    redis.freeze()
    began = time.monotonic()
    with ThreadPoolExecutor(60) as clients:
        answers = list(clients.map(service.ask, ["/visits"] * 60 + ["/api/"] * 20))
    service.wait_for(is_in("degraded", "timeout"))
    known_after = time.monotonic() - began
    at_once = service.ask("/visits")
    redis.thaw()
    service.wait_until_ok()

    assert {(answer.status, answer.json.get("reason")) for answer in answers} == {(503, "timeout"), (200, None)}
    assert max(answer.seconds for answer in answers) < 2  # a second, and what a busy machine adds
    assert known_after < 5
    assert at_once.seconds < 0.4
    assert service.ask("/visits").status == 200


def test_a_restart_is_two_lines_and_fifty_are_a_handful(start: Start, redis: RedisServer) -> None:
    """One outage is two log lines; a Redis that goes up and down gets a line that says so, and no more."""
    service = start(program="redis_user", REDIS_URL=redis.url)
    service.wait_until_ok()

    for _ in range(6):
        redis.kill()
        service.wait_for(lambda body: body["redis"]["status"] == "down")
        redis.start()
        service.wait_until_ok()

    lines = [line for line in service.log.splitlines() if " watch " in line]
    assert "redis down: connection_refused" in lines[0] or "redis down: connection_lost" in lines[0]
    assert "redis up again after" in lines[1]
    assert "It goes up and down" in lines[-1]
    assert len(lines) == 7
    assert service.ask("/visits").status == 200


@pytest.mark.parametrize(
    ("fault", "reason"),
    {"http": "not_redis", "close": "connection_lost", "reset": "connection_lost", "silent": "timeout"}.items(),
)
def test_a_fault_of_the_network_is_named(start: Start, redis: RedisServer, fault: str, reason: str) -> None:
    """Each has its reason, with 200 and degraded, and ends with the fault."""
    with Proxy(redis.port) as proxy:
        service = start(program="redis_user", REDIS_URL=redis.url.replace(str(redis.port), str(proxy.port)))
        service.wait_until_ok()

        proxy.break_with(fault)
        service.wait_for(is_in("degraded", reason))
        proxy.heal()

        service.wait_until_ok()


@pytest.mark.prd("RED-02")
def test_what_redis_refuses_is_named(start: Start, redis: RedisServer) -> None:
    """Out of memory, read-only, refused writes: no endpoint gets a 500, and each has its reason."""
    service = start(program="redis_user", REDIS_URL=redis.url)
    service.wait_until_ok()
    seen = {}

    with redis.client() as admin:
        for reason, breaks, heals in (
            ("out_of_memory", ("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
            ("read_only", ("REPLICAOF", "127.0.0.1", str(free_port())), ("REPLICAOF", "NO", "ONE")),
            (
                "read_only",
                ("CONFIG", "SET", "min-replicas-to-write", "1"),
                ("CONFIG", "SET", "min-replicas-to-write", "0"),
            ),
            (
                "access_denied",
                ("ACL", "SETUSER", "default", "resetkeys", "~other:*"),
                ("ACL", "SETUSER", "default", "~*"),
            ),
        ):
            admin.execute_command(*breaks)
            service.wait_for(is_in("degraded", reason))
            seen[reason] = service.ask("/visits").json["reason"]
            admin.execute_command(*heals)
            service.wait_until_ok()

    assert seen == {reason: reason for reason in seen}


@pytest.mark.prd("RED-03")
def test_a_required_redis_is_waited_for(start: Start, redis: RedisServer) -> None:
    """REDIS_REQUIRED=true makes it like the database: the start waits, an outage is 503."""
    redis.kill()
    service = start(program="redis_user", REDIS_URL=redis.url, REDIS_REQUIRED="true")

    waiting = service.wait_for(is_in("starting", "connection_refused"))
    redis.start()
    service.wait_until_ok()
    redis.kill()
    service.wait_for(is_in("unavailable", "connection_refused"))
    answer = service.ask("/health")

    assert waiting["redis"]["required"] is True
    assert waiting["wait"]["component"] == "redis"
    assert answer.status == 503


@pytest.mark.prd("RED-03")
@pytest.mark.parametrize(("password", "code"), [(None, 69), ("wrong", 77)])
def test_a_required_redis_that_cannot_be_used_ends_the_start(
    start: Start, redis: RedisServer, password: str | None, code: int
) -> None:
    """69 where it does not come in time, 77 where it keeps refusing the password."""
    url = f"redis://:{password}@127.0.0.1:{redis.port}"
    if password is None:
        redis.kill()
    service = start(program="redis_user", REDIS_URL=url, REDIS_REQUIRED="true", DB_WAIT_TIMEOUT=8 if password else 1)

    exit_code = service.exit_code(seconds=30)

    assert exit_code == code


def test_tls_is_verified(start: Start, tmp_path: Path) -> None:
    """rediss:// with the CA that signed the certificate is up; with another CA it is tls_failed."""
    ca, other = certificates.make(tmp_path), certificates.make(tmp_path, "other")
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem"), "--tls-auth-clients", "no"]
    server = RedisServer(tmp_path, *tls, "--tls-key-file", str(tmp_path / "server.key"), "--tls-ca-cert-file", str(ca))
    server.start()
    url = server.url.replace("redis:", "rediss:").replace(str(server.port), str(port))

    try:
        start(program="redis_user", REDIS_URL=url, REDIS_SSL_CA=ca).wait_until_ok()
        start(program="redis_user", REDIS_URL=url, REDIS_SSL_CA=other).wait_for(is_in("degraded", "tls_failed"))
    finally:
        server.kill()


def test_the_address_may_be_in_a_file(start: Start, redis: RedisServer, tmp_path: Path) -> None:
    """REDIS_URL_FILE keeps the password out of the environment."""
    file = tmp_path / "redis_url"
    file.write_text(redis.url + "\n")

    service = start(program="redis_user", REDIS_URL_FILE=file)

    assert service.wait_until_ok()["redis"]["status"] == "up"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"REDIS_URL": "local"}, BAD_URL),
        ({"REDIS_URL": "redis://:s3cret@redis:6379/0?ssl_cert_reqs=none"}, BAD_URL),
        ({"REDIS_URL": "redis://:s3cret@redis:99999"}, BAD_URL),
        ({"REDIS_REQUIRED": "true"}, "REDIS_REQUIRED=true needs REDIS_URL"),
        ({"REDIS_URL": "redis://redis", "REDIS_SSL_CA": "{ca}"}, "REDIS_URL does not begin with rediss://"),
    ],
)
def test_a_wrong_setting_is_named(start: Start, other_ca: Path, settings: dict[str, str], words: str) -> None:
    """Exit code 78, without the value."""
    service = start(**{name: value.format(ca=other_ca) for name, value in settings.items()})

    code = service.exit_code()

    assert code == 78
    assert words in service.log
    assert "s3cret" not in service.log


@pytest.mark.parametrize(
    ("url", "address"),
    {
        "redis://redis": RedisAddress(False, None, None, "redis", 6379, 0),
        "rediss://user:p@ss/w:#?rd%25한글@10.0.0.1:7000/3": RedisAddress(
            True, "user", "p@ss/w:#?rd%한글", "10.0.0.1", 7000, 3
        ),
        "redis://:p@[::1]:6380/": RedisAddress(False, None, "p", "::1", 6380, 0),
    }.items(),
)
def test_an_address_is_read(url: str, address: RedisAddress) -> None:
    """Of the password only a % has to be written otherwise."""
    assert RedisAddress.parse(url) == address


def test_sigterm_ends_the_wait_for_a_frozen_redis(start: Start, redis: RedisServer) -> None:
    """SIGTERM ends the process with 0 while Redis is frozen."""
    redis.freeze()
    service = start(program="redis_user", REDIS_URL=redis.url, REDIS_REQUIRED="true")
    service.wait_for(is_in("starting", "timeout"))

    assert service.terminate() == 0


@pytest.mark.prd("RED-04")
def test_the_throttle_of_logins_is_shared(start: Start, redis: RedisServer, proxy: Proxy) -> None:
    """Ten failures at two replicas together lock both, also where one was asked during its start.

    With a frozen Redis a login works on.
    """
    accounts = {"JWT_SECRET": "the key of the tests, which is long enough", "REDIS_URL": redis.url}
    proxy.break_with("refuse")
    first, second = start(**accounts, MYSQL_PORT=proxy.port), start(**accounts)
    first.wait_for_reason("connection_refused")

    def log_in(service: Service, name: str) -> Answer:
        form = urlencode({"username": name, "password": "wrong"})
        return service.ask("/api/login", "POST", {"Content-Type": "application/x-www-form-urlencoded"}, body=form)

    too_early = log_in(first, "admin")
    proxy.heal()
    for service in (first, second):
        service.wait_until_ok()
    failures = [log_in(service, "admin").status for service in (first, second) for _ in range(5)]
    locked = [log_in(service, "admin") for service in (first, second)]
    redis.freeze()
    frozen = log_in(second, "somebody")
    redis.thaw()

    assert too_early.status == 503
    assert failures == [401] * 10
    assert [answer.status for answer in locked] == [429, 429]
    assert 0 < int(locked[0].headers["Retry-After"]) <= 60
    assert frozen.status == 401
