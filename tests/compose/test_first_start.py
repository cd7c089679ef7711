"""The first `up`: from nothing, with settings missing or odd, and what `down` keeps of it."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from compose.conftest import NewStack
from compose.stack import PROJECT, SETTINGS, Stack
from dotenv import dotenv_values

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]

SLOW_FIRST_BOOT = """
services:
  mysql:
    volumes: [./slow.sql:/docker-entrypoint-initdb.d/slow.sql:ro]
"""
IMPATIENT = """
services:
  mysql:
    healthcheck: {start_period: 1s, interval: 1s, retries: 1}
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
    assert "ready after" in stack.log("fastapi")


@pytest.mark.prd("BOX-09")
def test_interrupted_first_boot(new_stack: NewStack) -> None:
    """A first boot that is killed, or stopped by Ctrl-C, ends at once, and the next `up` starts it anew."""
    stack = new_stack()
    began = stack.now()

    for end in (["kill"], ["down"]):
        stack.compose("up", "--detach", "mysql")
        stack.until(lambda: "Initializing database files" in stack.log("mysql"))
        stack.compose(*end)
    up = stack.begin("up", "mysql")
    stack.until(lambda: "temporary server" in stack.log("mysql"))
    up.send_signal(signal.SIGINT)
    up.communicate(timeout=60)
    codes = stack.exit_codes("mysql", began)
    stack.up()

    assert codes == [137, 143, 143], "killed, and twice stopped in order within 60 s"
    assert "The first boot was interrupted" in stack.log("mysql")
    assert stack.get("/api/test").status == 200
    assert ".first-boot" not in stack.compose("exec", "mysql", "ls", "-A", "/var/lib/mysql").split()


@pytest.mark.prd("BOX-09")
def test_tables_are_never_removed(stack: Stack) -> None:
    """Where an interrupted first boot has left a table, the log says what to do and nothing is removed."""
    stack.sql("CREATE OR REPLACE VIEW v AS SELECT 1; CREATE TABLE IF NOT EXISTS kept (word TEXT)")
    stack.compose("stop", "mysql")
    volume = f"{stack.volumes()[0]}:/v"
    stack.docker("run", "--rm", "--user", "0", "--volume", volume, f"{stack.name}-fastapi", "touch", "/v/.first-boot")
    began = stack.now()

    stack.up("mysql")

    assert "may have left half of it" in stack.log("mysql", began)
    assert stack.sql("SHOW TABLES LIKE 'kept'") == "kept"


@pytest.mark.prd("BOX-02")
def test_root_is_not_an_account_for_the_service(new_stack: NewStack) -> None:
    """MYSQL_USER=root: MySQL's log says it in one line, and `up --wait` ends."""
    stack = new_stack(MYSQL_USER="root")
    stack.override(IMPATIENT)

    up = stack.try_compose("up", "--detach", "--wait", "mysql")

    assert up.returncode != 0
    assert stack.state("mysql").restarts == 0
    [line] = stack.log("mysql").splitlines()
    assert "MYSQL_USER=root in .env: MySQL has that account already. Take another name" in line


@pytest.mark.prd("BOX-02")
def test_folder_of_korean_letters(tmp_path: Path) -> None:
    """`./run` gives the project a name where compose cannot make one of the folder's; both then use it."""
    folder = tmp_path / "한글"
    shutil.copytree(PROJECT, folder, ignore=shutil.ignore_patterns(".*v*", ".git", ".local", "bench"))
    shutil.copy(PROJECT / ".env.example", folder)
    environment = {"PATH": os.environ["PATH"], "MYSQL_USER": "root"}  # so that it ends before it starts anything

    run = subprocess.run(["./run", "compose"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    config = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, capture_output=True, text=True, timeout=60
    )

    name = json.loads(config.stdout)["name"]
    assert name.startswith("bootstrap-")
    assert f"COMPOSE_PROJECT_NAME={name}, in .env" in run.stdout
    assert run.stderr == "error: MYSQL_USER=root in .env: MySQL has that account already. Take another name\n"


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
def test_env_file_carries_quotes_and_backslashes(new_stack: NewStack) -> None:
    """Single quotes keep `$`, quotes, backslashes, spaces and Korean, in every variable, as ./run local does."""
    texts = ["it's", "a\\b", "'", "\\ ", 'p@ss $word ${x} $$ "q" # %41 :/? 비밀 ', "$HOME", "`id`"]
    other = {f"MY_SETTING_{number}": text for number, text in enumerate(texts)}
    stack = new_stack(MYSQL_PASSWORD=texts[0], MYSQL_HOST="elsewhere", MYSQL_PORT=1, HOST="127.0.0.1", **other)

    code = "import json, os; print(json.dumps(dict(os.environ)))"
    there = json.loads(stack.compose("run", "--rm", "--no-deps", "fastapi", "python", "-c", code))

    assert there["MYSQL_PASSWORD"] == texts[0]
    assert [there[name] for name in other] == texts
    assert dotenv_values(stack.folder / ".env", interpolate=False).items() >= other.items()
    decided = {"HOST": "0.0.0.0", "PORT": "8000", "MYSQL_HOST": "mysql", "MYSQL_PORT": "3306"}
    assert there.items() >= decided.items(), "what is about this machine stays out of the container"


@pytest.mark.prd("BOX-06")
def test_every_setting_reaches_the_container(mysql_stack: Stack) -> None:
    """Each setting of the service stands in docker-compose.yml, so that a variable of the shell counts."""
    from settings import Settings

    listed = mysql_stack.config()["services"]["fastapi"]["environment"].keys()

    assert listed >= {name.upper() for name in Settings.model_fields}
