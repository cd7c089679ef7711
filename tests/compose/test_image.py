"""The image and the container: nobody in particular, nothing to write, nothing to find."""

import json

import pytest
from compose.conftest import NewStack
from compose.stack import PROJECT, SETTINGS, Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(300)]


@pytest.mark.prd("BOX-03")
def test_container_is_confined(mysql_stack: Stack) -> None:
    """Not root, a read-only file system but for /tmp, no capability, no way to gain any, limits."""
    stack = mysql_stack
    status = "grep -E '^(CapEff|CapBnd|NoNewPrivs):' /proc/1/status | cut -f 2"
    look = f"id -u; {status}; touch /app/x; touch /tmp/x && echo tmp"

    done = stack.try_compose("exec", "fastapi", "sh", "-c", look)
    host = stack.inspect("fastapi")["HostConfig"]

    assert done.stdout.split() == ["10001", "0" * 16, "0" * 16, "1", "tmp"]
    assert "Read-only file system" in done.stderr
    assert host["Memory"] == 256 * 2**20
    assert host["ShmSize"] == 8 * 2**20
    assert host["PidsLimit"] == 128
    assert host["LogConfig"] == {"Type": "json-file", "Config": {"max-file": "3", "max-size": "10m"}}
    assert host["RestartPolicy"]["Name"] == "on-failure"
    assert stack.inspect("mysql")["HostConfig"]["Memory"] == 2**30


@pytest.mark.prd("BOX-03")
def test_a_full_tmp_does_not_kill_the_service(mysql_stack: Stack) -> None:
    """What fills /tmp gets an error before the container's memory is full."""
    stack = mysql_stack
    before = stack.state("fastapi").started

    done = stack.try_compose("exec", "fastapi", "dd", "if=/dev/zero", "of=/tmp/x", "bs=1M", "count=400")

    assert "No space left on device" in done.stderr
    assert stack.get().status == 200
    assert (stack.state("fastapi").started, stack.state("fastapi").restarts) == (before, 0)


@pytest.mark.prd("BOX-04")
@pytest.mark.parametrize(
    ("module", "mistake", "words"),
    [
        ("api.py", "def f(:", ["/app/api.py", "def f(:", "SyntaxError"]),
        ("database.py", "import nonsense", ["/app/database.py", "import nonsense", "ModuleNotFoundError"]),
    ],
)
def test_code_that_does_not_start_is_no_image(new_stack: NewStack, module: str, mistake: str, words: list[str]) -> None:
    """The build fails and shows the line; one that succeeds shows no CRITICAL."""
    stack = new_stack()
    code = stack.folder / "fastapi" / module
    code.write_text(code.read_text() + f"\n{mistake}\n")

    failed = stack.try_compose("--progress", "plain", "build", "fastapi")
    code.write_text(code.read_text().replace(mistake, "# good"))
    good = stack.try_compose("--progress", "plain", "build", "fastapi")

    assert failed.returncode != 0
    for word in [*words, "This code does not start: exit code 1"]:
        assert word in failed.stderr + failed.stdout
    assert good.returncode == 0, good.stderr
    assert "CRITICAL" not in good.stderr + good.stdout


@pytest.mark.prd("BOX-03")
def test_only_this_machine_is_answered(mysql_stack: Stack) -> None:
    """The port is published on 127.0.0.1 unless HOST says otherwise, and MySQL's not at all."""
    stack = mysql_stack

    published = stack.compose("port", "fastapi", "8000").strip()
    stack.set(HOST="0.0.0.0")
    opened = stack.config()["services"]["fastapi"]["ports"]

    assert published == f"127.0.0.1:{stack.port}"
    assert opened[0]["host_ip"] == "0.0.0.0"
    assert set(stack.inspect("mysql")["NetworkSettings"]["Ports"].values()) == {None}


@pytest.mark.prd("BOX-04")
def test_image_holds_no_secret(new_stack: NewStack, image: str) -> None:
    """Neither layers nor metadata of the image know the settings it runs with."""
    stack = new_stack()
    (stack.folder / "fastapi" / ".env").write_text("MYSQL_PASSWORD=x")

    told = stack.docker("history", "--no-trunc", image) + stack.docker("inspect", image)
    stack.compose("build", "fastapi")
    files = stack.docker("run", "--rm", f"{stack.name}-fastapi", "ls", "-A", "/app").split()

    assert SETTINGS["MYSQL_PASSWORD"] not in told
    assert ".env" not in files
    assert not any("PASSWORD" in line for line in json.loads(stack.docker("inspect", image))[0]["Config"]["Env"])


@pytest.mark.prd("BOX-04")
def test_health_check_shows_no_password(mysql_stack: Stack) -> None:
    """The command of MySQL's check, as `ps` would show it, names the variable alone."""
    check = mysql_stack.inspect("mysql")["Config"]["Healthcheck"]["Test"]

    assert "$MYSQL_PASSWORD" in check[1]
    assert SETTINGS["MYSQL_PASSWORD"] not in check[1]


@pytest.mark.prd("BOX-04")
def test_image_holds_the_service_alone(image: str, new_stack: NewStack) -> None:
    """Modules, page and lock, compiled; no tests, no documents, no Dockerfile, no cache of pip, no compiler."""
    look = "ls -A /app; ls /app/__pycache__ | grep -c pyc; ls -A /root/.cache; command -v gcc cc"
    expected = {file.name for file in (PROJECT / "fastapi").iterdir() if file.suffix in {".py", ".html"}}

    done = new_stack().run("docker", "run", "--rm", "--user", "0", image, "sh", "-c", look, seconds=60)
    *files, compiled = done.stdout.split()

    assert set(files) == expected | {"requirements.txt", "__pycache__", "migrations"}
    assert int(compiled) > 5
    assert done.returncode != 0, "no compiler"


@pytest.mark.prd("BOX-05")
def test_first_line_of_the_log_comes_at_once(mysql_stack: Stack) -> None:
    """Lines reach `docker logs` while the service runs, not when a buffer is full; HEALTHCHECK's output is kept."""
    stack = mysql_stack

    log = stack.log("fastapi")
    check = stack.health_log("fastapi")[-1]

    assert "ready after" in log
    assert "PYTHONUNBUFFERED=1" in stack.inspect("fastapi")["Config"]["Env"]  # for what is printed: stderr needs none
    assert (check["ExitCode"], check["Output"]) == (0, "ok: database up\n")
