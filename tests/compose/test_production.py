"""docker-compose.prod.yml in the engine: Caddy with a real certificate, an update under load, an outage."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose.site import HOST, REPLICAS, Site, Visitors

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

ASK_CADDY = f"""
import http.client, socket, ssl
context = ssl._create_unverified_context()
connection = http.client.HTTPSConnection("{HOST}", context=context)
form = {{"Content-Type": "application/x-www-form-urlencoded"}}
connection.request("POST", "/api/login", "username=a&password=b", form)
print(connection.getresponse().status)
"""
BROKEN = """
import os
if os.environ.get("APP_ENV") == "prod":  # not in the build, which would notice
    raise RuntimeError("broken")
"""


@pytest.fixture(scope="module")
def shared_site(image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for all tests here: each leaves it serving."""
    site = Site(tmp_path_factory.mktemp("site") / "project", f"{run_name}-site", image)
    site.up(seconds=240)
    began = time.monotonic()
    site.until(lambda: site.visit().status == 200, 30)
    site.tell(f"certificate and 200 {time.monotonic() - began:.1f} s after up")
    yield site
    site.remove()


@pytest.fixture
def site(shared_site: Site) -> Site:
    """The site, serving."""
    shared_site.until(lambda: shared_site.visit("/api/test").status == 200)
    return shared_site


def test_certificate_and_https(site: Site) -> None:
    """A certificate that Pebble signed is verified, http leads to https, and browsers are told to stay there."""
    secure, plain = site.visit("/api/"), site.visit_http("/api/test?a=1")

    assert secure.status == 200
    assert secure.headers["strict-transport-security"] == "max-age=31536000"
    assert "server" not in secure.headers
    assert plain.status == 308
    assert plain.headers["location"] == f"https://{HOST}/api/test?a=1"


def test_closed_to_strangers(site: Site) -> None:
    """What is for operators and developers is not served, the service has no port, and /health shows no details."""
    closed = [f"/{name}" for name in ("metrics", "docs", "docs/", "redoc", "openapi.json", "docs/oauth2-redirect")]

    assert {path: site.visit(path).status for path in closed} == dict.fromkeys(closed, 404)
    assert json.loads(site.visit("/health").text).keys() == {"status", "database"}
    for replica in REPLICAS:
        assert not any(site.inspect(replica)["NetworkSettings"]["Ports"].values())


def test_client_address_is_not_taken_from_the_client(site: Site) -> None:
    """An X-Forwarded-For from outside is neither the client's address in a log nor reaches the service."""
    since = site.now()
    reply = site.visit("/api/?who=stranger", {"X-Forwarded-For": "1.2.3.4", "X-Forwarded-Host": "evil.test"})

    site.until(lambda: "who=stranger" in site.log("caddy", since))
    lines = [line.split(maxsplit=1)[1] for line in site.log("caddy", since).splitlines() if "who=stranger" in line]
    (entry,) = map(json.loads, lines)
    assert reply.status == 200
    assert entry["request"]["client_ip"] == entry["request"]["remote_ip"] != "1.2.3.4"
    assert all("1.2.3.4" not in site.log(replica, since) for replica in REPLICAS)


def test_wrong_passwords_lock_out_one_address(site: Site) -> None:
    """Made-up X-Forwarded-For headers do not help whoever guesses passwords, and others can log in meanwhile."""
    form = {"username": "nobody", "password": "guessed"}
    guesses = [site.login({**form, "username": f"n{n}"}, {"X-Forwarded-For": f"1.2.3.{n}"}) for n in range(25)]
    neighbour = site.compose("exec", "-T", "fastapi", "python", "-c", ASK_CADDY)

    assert {guess.status for guess in guesses} == {401, 429}
    assert neighbour.strip() == "401"


def test_accounts(site: Site) -> None:
    """The service may not alter tables, the migrations' account has, and no password is in `docker inspect`."""
    drop = site.try_compose("exec", "-T", "mysql", "sh", "-c", _as_the_service("DROP TABLE alembic_version"))
    passwords = [file.read_text() for file in (site.folder / "secrets").iterdir()]

    assert drop.returncode != 0
    assert "denied" in drop.stderr
    assert site.inspect("migrate")["State"]["ExitCode"] == 0
    for service in ("mysql", "migrate", *REPLICAS):
        assert not [each for each in passwords if each in json.dumps(site.inspect(service))]


def _as_the_service(statement: str) -> str:
    client = '"$(command -v mysql || command -v mariadb)"'
    password = 'MYSQL_PWD="$(cat $MYSQL_PASSWORD_FILE)"'
    return f'{password} {client} --user="$MYSQL_USER" -e "{statement}" "$MYSQL_DATABASE"'


def test_update_without_a_failed_request(site: Site) -> None:
    """`deploy/update` replaces both replicas by changed code under load, and no GET fails."""
    before = [site.container(replica) for replica in REPLICAS]
    _edit(site.folder / "fastapi" / "api.py", "FastAPI is running", "FastAPI is new")

    with Visitors(site, "/api/test", 4) as visitors:
        done = site.run("deploy/update", seconds=200)

    assert done.returncode == 0, done.stdout + done.stderr
    assert all(site.container(replica) not in ("", *before) for replica in REPLICAS)
    assert "FastAPI is new" in site.visit("/api/").text
    site.tell(f"{len(visitors.replies)} requests during the update")
    assert len(visitors.replies) > 100
    assert Counter(reply.status for reply in visitors.replies).keys() == {200}


def test_update_that_fails(site: Site) -> None:
    """An update to code that cannot start ends at the first replica; the other goes on serving with the old code."""
    source = site.folder / "fastapi" / "api.py"
    good = source.read_text()
    before = [site.container(replica) for replica in REPLICAS]
    source.write_text(good + BROKEN)

    with Visitors(site, "/api/test", 2) as visitors:
        failed = site.run("deploy/update", seconds=200)
    replaced = [site.container(replica) for replica in REPLICAS]
    source.write_text(good)
    repaired = site.run("deploy/update", seconds=200)

    assert failed.returncode == 1
    assert "fastapi is not healthy" in failed.stderr
    assert replaced[0] != before[0]
    assert replaced[1] == before[1]
    assert Counter(reply.status for reply in visitors.replies).keys() == {200}
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr


def test_outage_of_the_database(site: Site) -> None:
    """While no replica is ready visitors get its own answers, quickly, and afterwards the site serves by itself."""
    site.compose("kill", "mysql")
    site.until(lambda: site.visit("/health").status == 503)
    site.until(lambda: site.visit("/api/test").status == 503)
    health, test, page = site.visit("/health"), site.visit("/api/test"), site.visit("/")
    site.up("mysql")

    assert json.loads(health.text)["status"] == "unavailable"
    assert json.loads(test.text)["status"] == "unavailable"
    assert health.headers["retry-after"] == test.headers["retry-after"] == "1"
    assert {"strict-transport-security", "server"} & test.headers.keys() == {"strict-transport-security"}
    assert page.status == 200
    site.until(lambda: site.visit("/api/test").status == 200)


def test_replica_that_dies(site: Site) -> None:
    """The end of one replica costs no GET, and its restart policy brings it back."""
    with Visitors(site, "/api/test", 2) as visitors:
        site.kill_process("fastapi-2")
        site.until(lambda: site.state("fastapi-2").restarts > 0)
        site.until(lambda: site.state("fastapi-2").health == "healthy", 60)

    assert Counter(reply.status for reply in visitors.replies).keys() == {200}


def test_no_replica_at_all(site: Site) -> None:
    """When no replica answers Caddy says so itself, as JSON and with Retry-After."""
    site.compose("stop", *REPLICAS)
    reply = site.visit("/api/test")
    site.up("--no-deps", *REPLICAS)

    assert reply.status == 503
    assert json.loads(reply.text) == {"status": "unavailable", "hint": "No replica of the service answers: ask again."}
    assert reply.headers["retry-after"] == "1"
    assert "strict-transport-security" in reply.headers


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))
