"""The overlays and live code: the password as a secret, a database elsewhere, `docker compose watch`."""

import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from compose.conftest import NewStack
from compose.stack import PROJECT, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

SAME_NETWORK = """
networks:
  default: {{name: {name}_default, external: true}}
"""


@pytest.fixture(scope="module", autouse=True)
def unanswered(
    image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stack, subprocess.Popen[str]]]:
    """A database elsewhere that does not answer: `up --wait` begins before all tests, because it takes 51 s."""
    folder = tmp_path_factory.mktemp("unanswered") / "project"
    stack = Stack(folder, f"{run_name}-unanswered", image, {"MYSQL_HOST": "192.0.2.1"})
    stack.files = ["docker-compose.external-db.yml"]
    with stack.begin("up", "--detach", "--wait") as up:
        yield stack, up
        up.terminate()
    stack.remove()


@pytest.mark.prd("BOX-07")
def test_password_as_a_secret(new_stack: NewStack) -> None:
    """With the overlay the password is a file: `docker inspect` of both containers does not show it."""
    password = '$only ${in} the "file" 비밀'
    stack = new_stack(MYSQL_PASSWORD="in-a-file")
    (stack.folder / "secrets").mkdir(mode=0o700)
    (stack.folder / "secrets" / "mysql_password").write_text(password + "\n")
    stack.files = ["docker-compose.yml", "docker-compose.secrets.yml"]

    stack.up()
    environments = [stack.inspect(service)["Config"]["Env"] for service in ("mysql", "fastapi")]

    assert stack.get().status == 200
    assert stack.get("/api/test").status == 200
    for environment in environments:
        assert "MYSQL_PASSWORD=" in environment
        assert not any("only" in line or "in-a-file" in line for line in environment)


@pytest.mark.prd("BOX-07")
def test_external_database(mysql_stack: Stack, new_stack: NewStack) -> None:
    """With the other compose file there is no container of MySQL, and MYSQL_HOST names the server."""
    stack = new_stack(MYSQL_HOST="mysql")
    network = stack.folder / "network.yml"
    network.write_text(SAME_NETWORK.format(name=mysql_stack.name))
    stack.files = ["docker-compose.external-db.yml", str(network)]

    stack.up()

    assert stack.compose("ps", "--services").split() == ["fastapi"]
    assert stack.get("/api/test").status == 200
    assert stack.compose("exec", "fastapi", "getent", "hosts", "host.docker.internal")


@pytest.mark.prd("BOX-07")
def test_external_database_has_a_project_of_its_own(new_stack: NewStack) -> None:
    """It leaves the project of docker-compose.yml in the same folder alone."""
    stack = new_stack(MYSQL_HOST="db.example", MYSQL_SSL_CA="/ca.pem")

    command = ["docker", "compose", "-f", "docker-compose.external-db.yml", "config", "--format", "json"]
    config = json.loads(stack.run(*command, seconds=60).stdout)

    assert config["name"] == "bootstrap-external-db"
    environment = config["services"]["fastapi"]["environment"]
    assert (environment["MYSQL_HOST"], environment["MYSQL_SSL_CA"]) == ("db.example", "/run/mysql-ca.pem")


@pytest.mark.prd("BOX-07")
def test_external_database_needs_its_host(new_stack: NewStack) -> None:
    """Without MYSQL_HOST, as in a copy of `.env.example`, one line says what is missing."""
    stack = new_stack()
    shutil.copy(PROJECT / ".env.example", stack.folder / ".env")
    stack.files = ["docker-compose.external-db.yml"]

    done = stack.try_compose("up", "--detach")

    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert "MYSQL_HOST" in done.stderr


def _edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


@pytest.mark.prd("BOX-08")
def test_watch_applies_changes(mysql_stack: Stack) -> None:
    """With READ_ONLY=false `docker compose watch` copies changed code in and restarts; a changed lock builds anew."""
    stack = mysql_stack
    stack.set(READ_ONLY="false")
    stack.up()
    container = stack.container("fastapi")
    watch = stack.begin("watch", "--no-up")
    try:
        assert watch.stdout
        while "Watch enabled" not in (line := watch.stdout.readline()):
            assert line, "watch ended"
        _edit(stack.folder / "fastapi" / "api.py", "FastAPI is running", "changed")
        copied = stack.until(lambda: (stack.get("/api/").body or {}).get("message") == "changed")
        same_container = stack.container("fastapi") == container
        _edit(stack.folder / "fastapi" / "requirements.txt", "annotated-doc==", "# changed\nannotated-doc==")
        rebuilt = stack.until(lambda: stack.container("fastapi") not in ("", container), 120)
        stack.until_status(200)
    finally:
        watch.send_signal(signal.SIGINT)
        said, _ = watch.communicate(timeout=30)

    assert same_container, said
    assert stack.get("/api/").body["message"] == "changed"
    stack.tell(f"code after {copied:.1f} s, lock after {rebuilt:.1f} s")


@pytest.mark.prd("BOX-09")
def test_backup_and_restore(mysql_stack: Stack) -> None:
    """The README's commands, as the app's user: what was dropped is back."""
    stack = mysql_stack
    readme = (PROJECT / "README.md").read_text()
    backup, restore = (line[2:] for line in readme.splitlines() if line.startswith("$ ") and "backup.sql" in line)
    stack.sql("CREATE TABLE backed_up (word TEXT); INSERT INTO backed_up VALUES ('안녕')")

    dumped = stack.run("sh", "-c", backup.replace("compose", f"compose -p {stack.name}", 1), seconds=60)
    stack.sql("DROP TABLE backed_up")
    restored = stack.run("sh", "-c", restore.replace("compose", f"compose -p {stack.name}", 1), seconds=60)

    assert dumped.returncode == 0, "what it says of masking policies, which the user may not read, is no failure"
    assert (restored.returncode, restored.stderr) == (0, "")
    assert stack.sql("SELECT word FROM backed_up") == "안녕"


@pytest.mark.prd("BOX-09")
def test_root_can_have_a_new_password(mysql_stack: Stack) -> None:
    """With the statement in an init file, as the README says; MySQL is stopped meanwhile."""
    stack = mysql_stack
    (stack.folder / "root.sql").write_text("ALTER USER root@localhost IDENTIFIED BY 'new';\n")
    name = f"{stack.name}-root"

    stack.compose("stop", "mysql")
    options = ["--detach", "--rm", "--name", name, "--volume", "./root.sql:/root.sql:ro"]
    stack.compose("run", *options, "mysql", "--init-file=/root.sql")
    stack.until(lambda: "ready for connections" in stack.run("docker", "logs", name, seconds=60).stderr, 60)
    stack.docker("stop", name)
    stack.up("mysql")
    said = stack.compose("exec", "-T", "--env", "MYSQL_PWD=new", "mysql", "mysql", "-uroot", "-Ne", "SELECT USER()")

    assert said == "root@localhost\n"


@pytest.mark.prd("BOX-07")
def test_external_database_that_does_not_answer(unanswered: tuple[Stack, subprocess.Popen[str]]) -> None:
    """`up --wait` ends before the service's own wait does, and the health log says why."""
    stack, up = unanswered

    said, _ = up.communicate(timeout=120)

    assert up.returncode != 0
    assert "is unhealthy" in said
    stack.until(lambda: any("waiting: timeout: 192.0.2.1" in check["Output"] for check in stack.health_log("fastapi")))
