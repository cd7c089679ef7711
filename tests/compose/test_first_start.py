"""The first `up`: from nothing, with settings missing or odd, and what `down` keeps of it."""

import shutil

import pytest
from compose.conftest import NewStack
from compose.stack import PROJECT, SETTINGS, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

SLOW_FIRST_BOOT = """
services:
  mysql:
    volumes: [./slow.sql:/docker-entrypoint-initdb.d/slow.sql:ro]
"""
ADMIN = '"$(command -v mysqladmin || command -v mariadb-admin)" ping'


@pytest.mark.prd("BOX-01")
def test_up_waits_for_the_real_server(empty_stack: Stack) -> None:
    """`up --wait` ends healthy; the temporary server of the first boot answers a ping, but never counts as healthy."""
    stack = empty_stack
    (stack.folder / "slow.sql").write_text("SELECT SLEEP(4);")
    stack.override(SLOW_FIRST_BOOT)

    up = stack.begin("up", "--detach", "--wait")
    stack.until(lambda: stack.try_compose("exec", "mysql", "sh", "-c", ADMIN).returncode == 0, 60)
    during = stack.state("mysql")
    failed = stack.health_log("mysql")
    said, _ = up.communicate(timeout=180)

    assert up.returncode == 0, said
    assert during.health == "starting"
    assert all(check["ExitCode"] == 1 for check in failed)
    log = stack.log("mysql")
    ready = [line for line in log.splitlines() if "port: 3306" in line or "ready for connections" in line]
    first_healthy = next(check for check in stack.health_log("mysql") if check["ExitCode"] == 0)
    assert first_healthy["End"] > ready[-1].split()[0], "healthy before the last server was ready"
    assert stack.get().status == 200
    assert stack.get("/api/test").status == 200
    assert "(healthy)" in stack.ps("mysql")
    assert "(healthy)" in stack.ps("fastapi")
    assert stack.state("fastapi").restarts == 0
    assert "ready: done" in stack.log("fastapi")


@pytest.mark.prd("BOX-02")
@pytest.mark.parametrize("missing", [["MYSQL_DATABASE"], ["MYSQL_USER"], ["MYSQL_PASSWORD"], list(SETTINGS)])
def test_missing_variable_is_one_clear_line(new_stack: NewStack, missing: list[str]) -> None:
    """Without a variable, or without `.env` at all, compose starts nothing and says to copy `.env.example`."""
    stack = new_stack()
    stack.set(**dict.fromkeys(missing))
    if missing == list(SETTINGS):
        (stack.folder / ".env").unlink()

    done = stack.try_compose("up", "--detach")

    assert done.returncode != 0
    assert len(done.stderr.strip().splitlines()) == 1
    assert any(name in done.stderr for name in missing)
    assert "copy .env.example to .env" in done.stderr


@pytest.mark.prd("BOX-02")
def test_image_alone_names_every_missing_variable(image: str, new_stack: NewStack) -> None:
    """The image without any setting ends with 78 and names all that it needs."""
    stack = new_stack()

    done = stack.run("docker", "run", "--rm", image, seconds=60)

    assert done.returncode == 78
    for name in ("MYSQL_HOST", "MYSQL_DATABASE", "MYSQL_USER", "MYSQL_PASSWORD"):
        assert f"{name} is missing" in done.stderr


@pytest.mark.prd("BOX-01")
def test_example_is_a_whole_env(new_stack: NewStack) -> None:
    """A plain copy of `.env.example` is all that compose needs."""
    stack = new_stack()
    shutil.copy(PROJECT / ".env.example", stack.folder / ".env")

    environment = stack.config()["services"]["fastapi"]["environment"]

    assert environment["MYSQL_HOST"] == "mysql"
    assert environment["MYSQL_PASSWORD"]


@pytest.mark.prd("RESTART-08")
def test_invalid_setting_ends_with_78_and_is_restarted(mysql_stack: Stack) -> None:
    """A mistake in `.env` ends with 78, again and again; once it is corrected `up` heals."""
    stack = mysql_stack
    stack.set(DB_WAIT_TIMEOUT="soon")
    began = stack.now()

    up = stack.try_compose("up", "--detach", "--wait")
    stack.until(lambda: stack.state("fastapi").restarts >= 2)
    stack.set(DB_WAIT_TIMEOUT=None)
    stack.up()

    assert up.returncode != 0
    codes = stack.exit_codes("fastapi", began)[1:]  # the first end is the stop of the container before
    assert set(codes[:2]) == {78}
    assert stack.get().status == 200


@pytest.mark.prd("BOX-09")
def test_down_keeps_the_data(new_stack: NewStack) -> None:
    """`down` and `up` bring the same data back; `down -v` removes the volume."""
    stack = new_stack()
    stack.up()
    stack.sql("CREATE TABLE kept (word TEXT); INSERT INTO kept VALUES ('안녕')")

    stack.compose("down")
    volumes_after_down = stack.volumes()
    stack.up()
    word = stack.sql("SELECT word FROM kept")
    stack.compose("down", "--volumes")

    assert volumes_after_down == [f"{stack.name}_mysql-data"]
    assert word == "안녕"
    assert stack.volumes() == []


@pytest.mark.prd("BOX-09")
def test_new_volume_is_utf8mb4(mysql_stack: Stack) -> None:
    """The database takes any text: Korean and emoji alike."""
    charset = mysql_stack.sql("SELECT @@character_set_database, '한글 🙂'")

    assert charset == "utf8mb4\t한글 🙂"


@pytest.mark.prd("BOX-06")
def test_password_of_any_text(new_stack: NewStack) -> None:
    """Single quotes in `.env` carry `$`, `${}`, double quotes, `#`, `%`, spaces and Korean to both containers."""
    stack = new_stack(MYSQL_PASSWORD='p@ss $word ${x} $$ "q" # %41 :/? 비밀 ')

    stack.up()

    assert stack.get().status == 200
    assert stack.get("/api/test").status == 200
    assert "비밀" not in stack.log("fastapi") + stack.log("mysql")


@pytest.mark.prd("BOX-06")
@pytest.mark.parametrize("password", ["it's", "a\\b", "'", "\\ "])
def test_env_file_carries_quotes_and_backslashes(new_stack: NewStack, password: str) -> None:
    r"""In single quotes `\'` is a quote, and a backslash stands for itself."""
    stack = new_stack(MYSQL_PASSWORD=password)

    code = "import os; print(os.environ['MYSQL_PASSWORD'])"
    carried = stack.compose("run", "--rm", "--no-deps", "fastapi", "python", "-c", code)

    assert carried == password + "\n"


@pytest.mark.prd("BOX-06")
def test_every_setting_reaches_the_container(mysql_stack: Stack) -> None:
    """Each setting of the service can be made in `.env`, but for those that the compose files decide."""
    from settings import Settings

    decided = {"HOST", "PORT", "MYSQL_PASSWORD_FILE", "MYSQL_SSL_CA"}
    config = mysql_stack.config()

    assert set(config["services"]["fastapi"]["environment"]) == {n.upper() for n in Settings.model_fields} - decided
