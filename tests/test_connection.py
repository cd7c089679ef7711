"""One connection: any password works, nothing can hold it past its deadline, every error is a pymysql.Error."""

import socket
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path

import pymysql
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from database_server import DatabaseServer, settings_for
from fake_mysql import OK, fake_mysql
from process import Start
from proxy import REASONS, Proxy
from pydantic import SecretStr

from connection import Connection
from mysql_faults import explain

FASTAPI = Path(__file__).parent.parent / "fastapi"


@pytest.mark.prd("SET-05")
@pytest.mark.parametrize(
    "password", ["p@ss:/?#%", "' \" ` \\", "with spaces ", "비밀번호", "密码🔑", "${x}", "", "x" * 200]
)
def test_any_password_works(server: DatabaseServer, password: str) -> None:
    """The password reaches MySQL as it is, whatever characters it has."""
    server.set_password(password)
    settings = settings_for(server, mysql_password=SecretStr(password))

    with closing(Connection(settings, deadline=5, read_timeout=5)) as connection:
        assert connection.latency_ms > 0


@pytest.mark.prd("WAIT-05")
@pytest.mark.parametrize(("fault", "reason"), REASONS.items())
def test_no_fault_holds_a_login(server: DatabaseServer, proxy: Proxy, fault: str, reason: str) -> None:
    """A login ends at its deadline at the latest, with the right reason."""
    proxy.break_with(fault)
    settings = settings_for(server, mysql_port=proxy.port)

    with pytest.raises(pymysql.Error) as caught:
        Connection(settings, deadline=0.5, read_timeout=60)

    assert explain(caught.value, settings).reason == reason


@pytest.mark.prd("WAIT-05")
def test_a_dead_address_leaves_time_for_the_next(
    server: DatabaseServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name with two addresses works when nothing answers at the first."""
    addresses = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (f"127.0.0.{n}", proxy.port)) for n in (2, 1)]
    settings = settings_for(server, mysql_port=proxy.port, mysql_host="two")
    real = socket.getaddrinfo
    monkeypatch.setattr("socket.getaddrinfo", lambda name, *o, **k: addresses if name == "two" else real(name, *o, **k))
    with ExitStack() as stack:
        dead = stack.enter_context(socket.create_server(("127.0.0.2", proxy.port), backlog=0))
        for _ in range(8):  # its queue is full, and nobody accepts any of them
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(dead.getsockname())

        with closing(Connection(settings, deadline=5, read_timeout=5)) as connection:
            assert connection.latency_ms > 0


@pytest.mark.prd("HEALTH-03")
def test_no_fault_holds_a_check(server: DatabaseServer, proxy: Proxy) -> None:
    """A check on an open connection ends at its deadline, although the read timeout is far away."""
    settings = settings_for(server, mysql_port=proxy.port)

    with closing(Connection(settings, deadline=5, read_timeout=60)) as connection:
        server.freeze()
        with pytest.raises(pymysql.Error) as caught:
            connection.check(0.3)

    assert explain(caught.value, settings).reason == "timeout"


@pytest.mark.prd("WAIT-02")
def test_which_attempts_reach_the_server(server: DatabaseServer, proxy: Proxy) -> None:
    """A refusal, and a close before any greeting, may be tried again at once; a login that was refused may not."""
    settings = settings_for(server, mysql_port=proxy.port)
    reached = {}

    for fault in ("refuse", "close", "reset", "silent"):
        proxy.break_with(fault)
        with pytest.raises(pymysql.Error) as caught:
            Connection(settings, deadline=0.3, read_timeout=1)
        reached[fault] = explain(caught.value, settings).reached_server
        proxy.heal()

    assert reached == {"refuse": False, "close": False, "reset": False, "silent": True}


@pytest.mark.prd("HEALTH-04")
def test_a_close_wakes_the_waiting(server: DatabaseServer) -> None:
    """Waiting on an idle connection ends when the server closes it, long before the time is over."""
    with closing(Connection(settings_for(server), deadline=5, read_timeout=5)) as connection:
        began = time.monotonic()
        server.sql(*(f"KILL {number}" for number in server.connections()))
        connection.wait_for_close(60)

    assert time.monotonic() - began < 30


@pytest.mark.prd("WHY-03")
def test_garbage_that_looks_like_a_packet(
    server: DatabaseServer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that pass for a packet header but hold nonsense are `not_mysql`, not an exception of the parser."""
    monkeypatch.setattr("proxy.GARBAGE", b"\x02\x00\x00\x00\x0a\x35")
    proxy.break_with("http")
    settings = settings_for(server, mysql_port=proxy.port)

    with pytest.raises(pymysql.Error) as caught:
        Connection(settings, deadline=2, read_timeout=2)

    assert explain(caught.value, settings).reason == "not_mysql"


@pytest.mark.prd("WHY-03")
@pytest.mark.parametrize("garbage", [b"", b"\xfc"])
def test_garbage_after_the_login(server: DatabaseServer, garbage: bytes) -> None:
    """A server that logs in and then answers nonsense is `not_mysql`, too."""
    with fake_mysql(answer=garbage) as fake:
        settings = settings_for(server, mysql_port=fake.port)
        with pytest.raises(pymysql.Error) as caught:
            Connection(settings, deadline=2, read_timeout=2)

    assert explain(caught.value, settings).reason == "not_mysql"


@pytest.mark.prd("SEC-03")
def test_a_server_without_tls_is_refused(server: DatabaseServer) -> None:
    """With MYSQL_SSL_CA a server that offers no TLS is refused: somebody in between may have hidden the offer."""
    with fake_mysql(answer=OK) as fake:
        settings = settings_for(server, mysql_port=fake.port, mysql_ssl_ca=server.ca)
        with pytest.raises(pymysql.Error) as caught:
            Connection(settings, deadline=2, read_timeout=2)

    assert explain(caught.value, settings).reason == "tls_failed"
    assert fake.logins == 0


@pytest.mark.prd("SEC-01")
def test_a_hint_holds_no_secret(server: DatabaseServer, tmp_path: Path) -> None:
    """An explained error names host and user, and neither the password nor the driver's text."""
    settings = settings_for(server, mysql_password=SecretStr("wr0ng-one"))

    with pytest.raises(pymysql.Error) as caught:
        Connection(settings, deadline=5, read_timeout=5)
    fault = explain(caught.value, settings)

    assert fault.permanent
    assert "user app" in fault.hint
    assert "wr0ng-one" not in repr(caught.value) + fault.hint
    assert "Access denied" not in fault.hint


def make_key() -> tuple[rsa.RSAPrivateKey, bytes]:
    """A key, and what a server shows of it."""
    key = rsa.generate_private_key(65537, 2048)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    return key, key.public_key().public_bytes(serialization.Encoding.PEM, public)


@pytest.mark.prd("SET-05")
def test_a_login_that_needs_cryptography(start: Start) -> None:
    """Without TLS the password is encrypted with the server's key: that package is imported for it, and only then."""
    key, pem = make_key()

    with fake_mysql(answer=OK, public_key=pem) as fake:
        service = start(MYSQL_PORT=fake.port, MYSQL_PASSWORD="s3cret")
        service.wait_for(lambda body: body["database"]["status"] == "up")
        service.end()

    assert len(fake.encrypted_password) == 256
    padding_scheme = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)
    scrambled = key.decrypt(fake.encrypted_password, padding_scheme)
    nonce = b"12345678901234567890"
    assert bytes(a ^ b for a, b in zip(scrambled, nonce, strict=False)) == b"s3cret\0"


def test_many_first_logins_that_need_cryptography() -> None:
    """All threads that find the package missing wait until it is imported, and then log in."""
    look = (
        "import sys\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "from connection import Connection\n"
        "from settings import read_settings\n"
        "settings, barrier = read_settings(), Barrier(8)\n"
        "def log_in(_):\n"
        "    barrier.wait()\n"
        "    Connection(settings, 20, 20).close()\n"
        "assert 'cryptography' not in sys.modules\n"
        "with ThreadPoolExecutor(8) as pool:\n"
        "    print(len(list(pool.map(log_in, range(8)))))\n"
    )

    with fake_mysql(answer=OK, public_key=make_key()[1]) as fake:
        address = {"MYSQL_HOST": "127.0.0.1", "MYSQL_PORT": str(fake.port), "MYSQL_PASSWORD": "s3cret"}
        done = subprocess.run(
            [sys.executable, "-c", look],
            cwd=FASTAPI,
            env={**address, "MYSQL_DATABASE": "app", "MYSQL_USER": "app"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert (done.stdout, done.stderr) == ("8\n", "")
