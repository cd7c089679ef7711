"""Every way in which the server itself can fail or refuse: named truthfully, and healed without a restart."""

import os
import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest
from database_server import DatabaseServer
from process import Start, stage
from proxy import Proxy

from connection import RECENT


def kill_connections(server: DatabaseServer) -> None:
    """Ends the app's connections, so that it has to log in again and meets what was changed."""
    for number in server.connections():
        server.sql(f"KILL {number}")


def change_password(server: DatabaseServer) -> None:
    server.set_password("another")


def revoke(server: DatabaseServer) -> None:
    server.sql("REVOKE ALL ON app.* FROM app@'%'")


def move_account(server: DatabaseServer) -> None:
    server.sql("DROP USER IF EXISTS root@127.0.0.1", "RENAME USER app@'%' TO app@'10.9.9.9'", "FLUSH PRIVILEGES")


def limit_account(server: DatabaseServer) -> None:
    server.sql("ALTER USER app@'%' WITH MAX_CONNECTIONS_PER_HOUR 1")
    with suppress(pymysql.OperationalError):
        pymysql.connect(host="127.0.0.1", port=server.port, user="app", password=server.password).close()


REFUSALS: dict[str, Callable[[DatabaseServer], None]] = {
    "access_denied": change_password,
    "database_denied": revoke,
    "host_not_allowed": move_account,
}


@pytest.mark.prd("WAIT-04", "EXIT-03")
@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refusal_at_boot_ends_with_77(start: Start, server: DatabaseServer, reason: str) -> None:
    """What only a person can change is tried for five seconds, then the process says what to do and exits with 77."""
    REFUSALS[reason](server)

    service = start()
    waiting = service.wait_for_reason(reason)
    code = service.exit_code()

    assert waiting["database"]["status"] == "waiting"
    assert code == 77
    summary = re.search(rf" attempts in ([\d.]+) s, last reason {reason}", service.log)
    assert summary
    assert 5 <= float(summary[1]) < 30  # neither at once nor after the whole DB_WAIT_TIMEOUT
    assert service.log.rstrip().endswith("stopped, exit code 77")


@pytest.mark.prd("WAIT-04")
def test_a_refusal_before_another_fault_does_not_count(start: Start, server: DatabaseServer) -> None:
    """The five seconds begin anew when the server was away in between: it is still being set up."""
    change_password(server)
    service = start()
    service.wait_for_reason("access_denied")

    server.stop()
    service.wait_for(lambda body: stage(body, "database")["seconds"] > 7)
    server.start()
    service.wait_for_reason("access_denied")
    server.set_password(server.password)

    service.wait_until_ok()


@pytest.mark.prd("HEALTH-02")
def test_a_refusal_is_noticed_without_a_lost_connection(start: Start, server: DatabaseServer) -> None:
    """Who is logged in already does not detect a changed password, so the watcher logs in anew now and then."""
    service = start(program="often_logging_in")
    service.wait_until_ok()

    change_password(server)
    service.wait_for_reason("access_denied")
    server.restore()

    service.wait_until_ok()


@pytest.mark.prd("API-02")
def test_a_login_that_fails_for_an_unlisted_reason(start: Start, server: DatabaseServer) -> None:
    """A login has no statement that could be wrong: whatever number it ends with is a 503."""
    service = start()
    service.wait_until_ok()

    server.sql("SET GLOBAL init_connect = 'no such statement'")
    kill_connections(server)
    down = service.wait_for(lambda body: body["status"] == "unavailable")
    request = service.ask("/api/test")
    server.restore()
    service.wait_until_ok()

    assert (request.status, request.json["reason"]) == (503, down["database"]["reason"])


@pytest.mark.prd("HEALTH-02")
@pytest.mark.parametrize("reason", REFUSALS)
def test_a_refusal_after_boot_is_reported_and_healed(start: Start, server: DatabaseServer, reason: str) -> None:
    """When the server begins to refuse, /health says so; when it stops refusing, the service is ready again."""
    service = start()
    service.wait_until_ok()

    REFUSALS[reason](server)
    kill_connections(server)
    down = service.wait_for_reason(reason)
    server.restore()
    service.wait_until_ok()

    assert (down["status"], down["database"]["status"]) == ("unavailable", "down")
    assert service.terminate() == 0


@pytest.mark.prd("WAIT-04")
def test_a_password_that_becomes_right_in_time(start: Start, server: DatabaseServer) -> None:
    """A server that is still being set up may refuse for a few seconds: the service waits and gets ready."""
    change_password(server)

    service = start()
    service.wait_for_reason("access_denied")
    server.set_password(server.password)
    service.wait_until_ok()

    assert service.terminate() == 0


@pytest.mark.prd("EXIT-03")
@pytest.mark.parametrize("name", ["missing", "없는_데이터베이스"])
def test_a_database_that_does_not_exist(start: Start, server: DatabaseServer, name: str) -> None:
    """It shows as 1044 to an ordinary user and as 1049 to a mighty one, and is `database_denied` to both."""
    if name == "missing":
        server.sql("GRANT ALL ON *.* TO app@'%'")

    service = start(MYSQL_DATABASE=name)
    waiting = service.wait_for_reason("database_denied")

    assert name in waiting["database"]["hint"]
    assert service.exit_code() == 77


@pytest.mark.prd("WHY-05")
def test_too_many_connections(start: Start, server: DatabaseServer) -> None:
    """A full server is named at boot and after it, and the service is ready when there is room."""
    others = [pymysql.connect(unix_socket=str(server.socket), user="root") for _ in range(12)]
    others[0].query("SET GLOBAL max_connections = 10")
    service = start()

    waiting = service.wait_for_reason("too_many_connections")
    others[0].query("SET GLOBAL max_connections = 151")
    service.wait_until_ok()
    others[0].query("SET GLOBAL max_connections = 10")
    with others[0].cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'app'")
        for (number,) in cursor.fetchall():
            cursor.execute(f"KILL {number}")
    down = service.wait_for_reason("too_many_connections")
    for connection in others:
        connection.close()
    service.wait_until_ok()

    assert (waiting["database"]["status"], down["database"]["status"]) == ("waiting", "down")
    assert service.terminate() == 0


@pytest.mark.prd("WHY-05")
def test_a_user_over_its_own_limit(start: Start, server: DatabaseServer) -> None:
    """An account with a limit of its own is `too_many_connections`, too, at boot and after it."""
    limit_account(server)
    service = start()

    service.wait_for_reason("too_many_connections")
    server.sql("ALTER USER app@'%' WITH MAX_CONNECTIONS_PER_HOUR 0")
    service.wait_until_ok()
    limit_account(server)
    kill_connections(server)
    down = service.wait_for_reason("too_many_connections")
    server.restore()
    service.wait_until_ok()

    assert down["status"] == "unavailable"
    assert service.terminate() == 0


@pytest.mark.prd("WHY-02")
def test_a_frozen_server_at_boot(start: Start, server: DatabaseServer) -> None:
    """A server stopped in its tracks is a timeout at boot, and the service is ready when it goes on."""
    server.freeze()
    service = start()

    waiting = service.wait_for_reason("timeout")
    server.thaw()
    service.wait_until_ok()

    assert waiting["status"] == "starting"
    assert service.terminate() == 0


@pytest.mark.prd("WHY-02", "HEALTH-03", "API-02")
def test_a_frozen_server_after_boot(start: Start, server: DatabaseServer) -> None:
    """A server that freezes is reported within its deadline; no request tries meanwhile; it is up when it goes on."""
    service = start(DB_CONNECT_TIMEOUT=10)
    service.wait_until_ok()
    assert service.ask("/api/test").status == 200

    server.freeze()
    down = service.wait_for_reason("timeout")
    request = service.ask("/api/test", timeout=3)  # less than a try would take
    server.thaw()
    service.wait_until_ok()

    assert down["database"]["status"] == "down"
    assert (request.status, request.json["reason"]) == (503, "timeout")
    assert service.ask("/api/test").status == 200
    assert service.terminate() == 0


@pytest.mark.prd("API-02")
def test_a_pooled_connection_to_a_frozen_server(start: Start, server: DatabaseServer) -> None:
    """Before the watcher notices, a request over a connection of the pool does not wait for DB_READ_TIMEOUT."""
    service = start(DB_CHECK_INTERVAL=60)
    service.wait_until_ok()
    rolled_back = server.status("Com_rollback")
    service.ask("/api/test")
    service.wait_for(lambda _: server.status("Com_rollback") > rolled_back)  # its connection is in the pool again
    time.sleep(2 * RECENT)

    server.freeze()
    request = service.ask("/api/test", timeout=20)
    server.thaw()

    assert (request.status, request.json["reason"]) == (503, "timeout")
    assert service.ask("/api/test").status == 200


@pytest.mark.prd("WHY-01", "HEALTH-02")
@pytest.mark.parametrize("end", [DatabaseServer.stop, DatabaseServer.kill], ids=["stopped", "killed"])
def test_a_server_that_ends_and_starts_again(
    start: Start, server: DatabaseServer, end: Callable[[DatabaseServer], None]
) -> None:
    """A server that is gone is reported in one log line, requests get 503, and all works again when it is back."""
    service = start()
    service.wait_until_ok()
    assert service.ask("/api/test").status == 200

    end(server)
    down = service.wait_for_reason("connection_refused")
    request = service.ask("/api/test")
    server.start()
    service.wait_until_ok()

    assert down["status"] == "unavailable"
    assert request.status == 503
    assert service.ask("/api/test").status == 200
    assert service.log.count("database down") == service.log.count("database up again") == 1
    assert service.terminate() == 0


@pytest.mark.prd("WAIT-01")
def test_a_server_that_comes_up_after_five_seconds(start: Start, server: DatabaseServer) -> None:
    """The service waits for a server that starts late, and says how long it took."""
    server.stop()
    service = start()

    service.wait_for(lambda body: stage(body, "database")["seconds"] > 6)
    server.start()
    ready = service.wait_until_ok()

    assert ready["database"]["attempts"] > 20
    assert "database: done, usable after " in service.log
    assert service.log.count("waiting for the database") in (2, 3)
    assert service.terminate() == 0


@pytest.mark.prd("WHY-04")
def test_a_name_that_does_not_resolve(start: Start) -> None:
    """A host name that nobody knows is `dns_failed`, at once, and ends with 69."""
    service = start(MYSQL_HOST="nobody.invalid", DB_WAIT_TIMEOUT=2)

    waiting = service.wait_for_reason("dns_failed")

    assert "nobody.invalid" in waiting["database"]["hint"]
    assert service.exit_code() == 69


@pytest.mark.prd("WHY-04")
def test_a_name_that_vanishes_and_comes_back(
    start: Start, server: DatabaseServer, proxy: Proxy, tmp_path: Path
) -> None:
    """A name that resolves only later is waited for, and one that vanishes after boot is reported and healed."""
    hosts = tmp_path / "hosts"
    hosts.write_text("")
    own_hosts_file = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-c"]
    script = f"mount --bind {hosts} /etc/hosts && exec {sys.executable} main.py"
    service = start([*own_hosts_file, script], MYSQL_HOST="mysql-of-the-test.invalid", MYSQL_PORT=proxy.port)

    waiting = service.wait_for_reason("dns_failed")
    hosts.write_text("127.0.0.1 mysql-of-the-test.invalid\n")
    service.wait_until_ok()
    hosts.write_text("")
    proxy.heal()  # drops the connections, so that the name is asked for
    down = service.wait_for_reason("dns_failed")
    hosts.write_text("127.0.0.1 mysql-of-the-test.invalid\n")
    service.wait_until_ok()

    assert (waiting["database"]["status"], down["database"]["status"]) == ("waiting", "down")


@pytest.mark.prd("HEALTH-05")
def test_a_connection_killed_by_the_server(start: Start, server: DatabaseServer) -> None:
    """Losing one connection is not an outage: the service opens another at once and stays up."""
    service = start()
    service.wait_until_ok()
    assert service.ask("/api/test").status == 200
    service.wait_for(lambda _: len(server.connections()) == 2)  # the watcher's and the pool's
    before = set(server.connections())

    kill_connections(server)
    service.wait_for(lambda body: bool(server.connections()) and not before & set(server.connections()))

    assert service.health()["status"] == "ok"
    assert service.ask("/api/test").status == 200
    assert "database down" not in service.log


@pytest.mark.prd("HEALTH-05")
def test_wait_timeout_passed(start: Start, server: DatabaseServer) -> None:
    """Connections that the server closes for idleness are replaced unnoticed, the watcher's and the pool's."""
    server.sql("SET GLOBAL wait_timeout = 1")
    service = start(DB_CHECK_INTERVAL=30)
    service.wait_until_ok()
    assert service.ask("/api/test").status == 200
    before = set(server.connections())

    service.wait_for(lambda _: not before & set(server.connections()))

    assert service.ask("/api/test").status == 200
    assert service.health()["status"] == "ok"
    assert "database down" not in service.log


@pytest.mark.prd("SEC-03")
def test_verified_tls(start: Start, server: DatabaseServer) -> None:
    """With MYSQL_SSL_CA the server's certificate is verified, and a right one is accepted."""
    service = start(MYSQL_SSL_CA=server.ca)

    service.wait_until_ok()

    assert service.ask("/api/test").status == 200


@pytest.mark.prd("SEC-03")
def test_a_certificate_of_another_ca(start: Start, server: DatabaseServer, other_ca: Path) -> None:
    """A certificate that MYSQL_SSL_CA did not sign is `tls_failed` and ends with 77."""
    service = start(MYSQL_SSL_CA=other_ca)

    waiting = service.wait_for_reason("tls_failed")

    assert "MYSQL_SSL_CA" in waiting["database"]["hint"]
    assert service.exit_code() == 77


@pytest.mark.prd("SEC-03")
def test_a_certificate_of_another_name(start: Start, server: DatabaseServer) -> None:
    """A certificate that MYSQL_SSL_CA signed for another name is `tls_failed`."""
    service = start(MYSQL_SSL_CA=server.ca, MYSQL_HOST="127.1")  # the same address, and no name of the certificate

    assert "127.1" in service.wait_for_reason("tls_failed")["database"]["hint"]


@pytest.mark.prd("WHY-03")
def test_a_wrong_port_that_is_another_program(start: Start, proxy: Proxy) -> None:
    """A port that speaks HTTP is `not_mysql`, which waiting may heal, so it ends with 69."""
    proxy.break_with("http")

    service = start(MYSQL_PORT=proxy.port, DB_WAIT_TIMEOUT=2)

    assert service.exit_code() == 69
    assert "last reason not_mysql" in service.log
