"""Accounts: the first admin, logging in, who is asking, and what happens to those who guess."""

import json
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
import psutil
import pytest
from database_server import DatabaseServer
from process import Answer, Service, Start

from throttle import MANY_KEYS, LoginThrottle

KEY = "the key of the tests, which is long enough"
PASSWORD = "T0p s3cret! 비밀번호 ☃"
ACCOUNTS = {"JWT_SECRET": KEY, "ADMIN_PASSWORD": PASSWORD}


def log_in(service: Service, name: str = "admin", password: str = PASSWORD) -> Answer:
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    return service.ask("/api/login", "POST", form, body=urlencode({"username": name, "password": password}))


def ask_as(service: Service, token: str, path: str = "/api/me") -> Answer:
    return service.ask(path, headers={"Authorization": f"Bearer {token}"})


def accounts(server: DatabaseServer) -> list[tuple[str, int, int]]:
    return [tuple(row) for row in server.sql("SELECT name, is_admin, session_version FROM app.accounts ORDER BY name")]


def command(service_folder: Path, server: DatabaseServer, *arguments: str, line: str = "") -> tuple[int, str]:
    """`python accounts.py ...`: the exit code and the output."""
    environment = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(server.port), "MYSQL_DATABASE": "app"}
    done = subprocess.run(
        [sys.executable, "accounts.py", *arguments],
        cwd=service_folder / "fastapi",
        env={**environment, "MYSQL_USER": "app", "MYSQL_PASSWORD": server.password},
        input=line,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


def stage(body: Any, name: str) -> Any:
    return next(stage for stage in body["stages"] if stage["name"] == name)


def changed_token(token: str, **changes: object) -> str:
    """A token with other claims, signed with the right key."""
    payload = jwt.decode(token, options={"verify_signature": False})
    return jwt.encode({**payload, **changes}, KEY, "HS256")


@pytest.mark.prd("AUTH-01", "AUTH-02")
def test_first_start_makes_an_admin_who_can_log_in(start: Start, server: DatabaseServer) -> None:
    """ADMIN_PASSWORD makes an account, any spelling of its name logs in, and the token says who is asking."""
    service = start(**ACCOUNTS)
    body = service.wait_until_ok()

    answer = log_in(service, " Admin ")
    me = ask_as(service, answer.json["access_token"])

    assert stage(body, "seed data")["detail"] == "account admin created"
    assert accounts(server) == [("admin", 1, 1)]
    assert answer.status == 200
    assert answer.json["token_type"] == "bearer"
    assert (me.status, me.json["name"], me.json["is_admin"]) == (200, "admin", True)
    for secret in (PASSWORD, KEY, "argon2"):
        assert secret not in service.everything_said


@pytest.mark.prd("AUTH-02")
def test_docs_know_how_to_log_in(start: Start) -> None:
    """`Authorize` in /docs offers the password flow, and posts to the login."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()

    schemes = service.ask("/openapi.json").json["components"]["securitySchemes"]

    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "api/login"


@pytest.mark.prd("AUTH-01")
def test_second_start_changes_nothing(start: Start, server: DatabaseServer) -> None:
    """An account that exists stays as it is, whatever the variable says now; nothing is hashed."""
    start(**ACCOUNTS).wait_until_ok()
    before = server.sql("SELECT * FROM app.accounts")

    service = start(**ACCOUNTS | {"ADMIN_PASSWORD": "another"})
    body = service.wait_until_ok()

    assert stage(body, "seed data")["detail"] == "account admin exists"
    assert server.sql("SELECT * FROM app.accounts") == before
    assert not any("password" in thread for thread in thread_names(service))


def thread_names(service: Service) -> list[str]:
    tasks = Path(f"/proc/{service.process.pid}/task")
    return [(task / "comm").read_text() for task in tasks.iterdir()]


@pytest.mark.prd("AUTH-01")
@pytest.mark.parametrize("password", [None, "", "change-me"])
def test_without_a_password_no_admin_is_made(start: Start, server: DatabaseServer, password: str | None) -> None:
    """No password, an empty one or the placeholder makes no account, and the stage says so."""
    service = start(ADMIN_PASSWORD=password)
    seeds = stage(service.wait_until_ok(), "seed data")

    assert (seeds["state"], seeds["detail"]) == ("skipped", "ADMIN_PASSWORD is not set")
    assert accounts(server) == []


@pytest.mark.prd("AUTH-02")
@pytest.mark.parametrize("secret", [None, "change-me"])
def test_without_a_key_login_is_off(start: Start, secret: str | None) -> None:
    """Without JWT_SECRET login and token answer 503 with a hint."""
    service = start(JWT_SECRET=secret)
    service.wait_until_ok()

    for answer in (log_in(service), ask_as(service, "x.y.z")):
        assert answer.status == 503
        assert answer.json["reason"] == "login_off"
        assert "JWT_SECRET" in answer.json["hint"]


@pytest.mark.prd("AUTH-03")
def test_wrong_password_and_unknown_name_look_the_same(start: Start) -> None:
    """Both are 401 with one body."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()

    wrong, unknown = log_in(service, password="wrong"), log_in(service, "nobody")

    assert (wrong.status, wrong.text) == (unknown.status, unknown.text)
    assert wrong.status == 401
    assert wrong.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.prd("AUTH-03")
@pytest.mark.parametrize("form", [{}, {"username": "admin"}, {"username": "a" * 65, "password": "x"}])
def test_incomplete_form_is_422(start: Start, form: dict[str, str]) -> None:
    """A form without one of its fields, or with one that is too long, is 422."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    answer = service.ask("/api/login", "POST", kind, body=urlencode(form))

    assert answer.status == 422
    assert not [value for value in form.values() if value in answer.text]


@pytest.mark.prd("AUTH-03")
def test_guessing_is_throttled(start: Start) -> None:
    """Of 30 guesses at once ten are tried, and one that was under way; then name and address get 429."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()

    with ThreadPoolExecutor(30) as threads:
        answers = list(threads.map(lambda _: log_in(service, "Admin", "wrong"), range(30)))
    right, other_name = log_in(service), log_in(service, "nobody")

    statuses = [answer.status for answer in answers]
    assert statuses.count(401) in {10, 11}
    assert statuses.count(429) == 30 - statuses.count(401)
    assert right.status == other_name.status == 429
    assert 1 <= int(right.headers["Retry-After"]) <= 60


def test_made_up_names_do_not_fill_the_memory() -> None:
    """What has had no failure for a minute is forgotten."""
    throttle = LoginThrottle()
    for number in range(MANY_KEYS):
        throttle.record_failure(f"name-{number}", "192.0.2.1")
    throttle._memory.events.update({key: [] for key in throttle._memory.events})  # as the storage does after a minute

    throttle.record_failure("admin", "192.0.2.2")

    assert len(throttle._memory.events) == 2


@pytest.mark.prd("AUTH-02")
def test_bad_tokens_are_401(start: Start, server: DatabaseServer) -> None:
    """No token, nonsense, another key, expired, unsigned, of another service or without a claim: 401 each time."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()
    token = log_in(service).json["access_token"]
    payload = jwt.decode(token, options={"verify_signature": False})
    unsigned = [
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in ({"alg": "none"}, payload)
    ]
    without_id = {name: value for name, value in payload.items() if name != "jti"}
    bad = {
        "nonsense": "x.y.z",
        "another key": jwt.encode(payload, KEY[::-1], "HS256"),
        "another algorithm": jwt.encode(payload, KEY * 2, "HS512"),
        "expired": changed_token(token, exp=int(time.time()) - 1),
        "unsigned": ".".join([*unsigned, ""]),
        "another service": changed_token(token, iss="another"),
        "without a claim": jwt.encode(without_id, KEY, "HS256"),
        "not a number": changed_token(token, sub="admin"),
        "another session": changed_token(token, session=0),
        "nobody": changed_token(token, sub="4711"),
    }
    of_a_clock_ahead = changed_token(token, iat=int(time.time()) + 30)

    statuses = {why: ask_as(service, token).status for why, token in bad.items()}

    assert statuses == dict.fromkeys(bad, 401)
    assert service.ask("/api/me").status == 401
    assert ask_as(service, token).status == 200
    assert ask_as(service, of_a_clock_ahead).status == 200


@pytest.mark.prd("AUTH-02")
def test_token_ends_with_its_password_and_its_account(start: Start, server: DatabaseServer, project: Path) -> None:
    """`accounts.py set-password` ends the tokens of the account, and so does its deletion."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()
    old = log_in(service).json["access_token"]

    code, output = command(project, server, "set-password", "ADMIN", line="a new password\n")
    after_change = ask_as(service, old)
    new = log_in(service, password="a new password").json["access_token"]
    before_deletion = ask_as(service, new)
    server.sql("DELETE FROM app.accounts")

    assert code == 0, output
    assert "a new password" not in output
    assert after_change.status == 401
    assert before_deletion.status == 200
    assert ask_as(service, new).status == 401


@pytest.mark.prd("AUTH-01")
def test_changed_password_survives_a_restart(start: Start, server: DatabaseServer, project: Path) -> None:
    """After set-password a start with the old ADMIN_PASSWORD leaves the new one."""
    start(**ACCOUNTS).wait_until_ok()
    command(project, server, "set-password", "admin", line="a new password\n")

    service = start(**ACCOUNTS)
    service.wait_until_ok()

    assert log_in(service).status == 401
    assert log_in(service, password="a new password").status == 200


@pytest.mark.prd("AUTH-05")
def test_commands_make_and_show_accounts(start: Start, server: DatabaseServer, project: Path) -> None:
    """`create` adds an account once, `list` shows it, and wrong words are a clear line."""
    start().wait_until_ok()

    created = command(project, server, "create", "Kim", line="a password\n")
    again = command(project, server, "create", "kim", line="a password\n")
    short = command(project, server, "create", "Lee", line="short\n")
    missing = command(project, server, "set-password", "Lee", line="a password\n")
    listed = command(project, server, "list")

    assert [code for code, _ in (created, again, short, missing, listed)] == [0, 65, 1, 65, 0]
    assert "there is an account kim already" in again[1]
    assert "at least 8 characters" in short[1]
    assert "there is no account lee" in missing[1]
    assert "kim" in listed[1]
    assert accounts(server) == [("kim", 0, 1)]


@pytest.mark.prd("AUTH-02")
def test_admins_only(start: Start, server: DatabaseServer, project: Path) -> None:
    """`Depends(current_admin)` answers 403 to an account that is none, and lets an admin in."""
    service = start(program="admins_only", **ACCOUNTS)
    service.wait_until_ok()
    command(project, server, "create", "kim", line="a password\n")

    as_kim = ask_as(service, log_in(service, "kim", "a password").json["access_token"], "/admins")
    as_admin = ask_as(service, log_in(service).json["access_token"], "/admins")

    assert as_kim.status == 403
    assert (as_admin.status, as_admin.json) == (200, "admin")


@pytest.mark.prd("AUTH-01")
def test_replicas_make_one_admin(start: Start, server: DatabaseServer) -> None:
    """Twenty replicas that start at once on an empty database make one account, and one of them says `created`."""
    services = [start(**ACCOUNTS) for _ in range(20)]

    details = [stage(service.wait_until_ok(100), "seed data")["detail"] for service in services]

    assert details.count("account admin created") == 1, details
    assert len(accounts(server)) == 1
    assert all("Traceback" not in service.log for service in services)


@pytest.mark.prd("AUTH-04")
def test_many_logins_cost_little_memory(start: Start) -> None:
    """50 logins at once are all answered, by two threads, in less memory than the container has."""
    service = start(**ACCOUNTS)
    service.wait_until_ok()

    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: log_in(service), range(50)))

    memory = psutil.Process(service.process.pid).memory_info().rss
    assert [answer.status for answer in answers] == [200] * 50
    assert memory < 200 * 1024 * 1024, f"{memory / 1024**2:.0f} MiB"
