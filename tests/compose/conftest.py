"""Compose projects for the tests. Each test says on which database it runs; what it starts from is put right first."""

import secrets
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from compose.stack import PROJECT, Stack

MARIADB = Path(__file__).parent / "mariadb"
NewStack = Callable[..., Stack]


def _docker(*arguments: str, seconds: float = 300) -> str:
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=seconds)
    if done.returncode:
        pytest.fail(f"docker {' '.join(arguments)}: {done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="session")
def run_name() -> Iterator[str]:
    """The beginning of all names that this run of the tests gives; at the end nothing may carry one of them."""
    name = f"composetest-{secrets.token_hex(4)}"
    yield name
    kinds = (["ps", "--all"], ["volume", "ls"], ["network", "ls"], ["images"])
    left = [line for kind in kinds for line in _docker(*kind).splitlines() if name in line]
    assert left == []


@pytest.fixture(scope="session")
def image(run_name: str) -> Iterator[str]:
    """The service's image, built once. Without an engine every test fails here: none is skipped."""
    _docker("info")
    _docker("build", "--tag", run_name, str(PROJECT / "fastapi"))
    yield run_name
    _docker("image", "rm", run_name)


@pytest.fixture(scope="session")
def mariadb_image(run_name: str) -> Iterator[str]:
    """MariaDB 11.8, made of packages."""
    name = f"{run_name}-mariadb"
    _docker("build", "--tag", name, str(MARIADB))
    yield name
    _docker("image", "rm", name)


@pytest.fixture
def new_stack(image: str, run_name: str, tmp_path: Path) -> Iterator[NewStack]:
    """Makes projects that nothing has been started in: `new_stack(LOG_LEVEL="DEBUG")`, settings going to `.env`."""
    stacks: list[Stack] = []

    def new(**settings: object) -> Stack:
        name = f"{run_name}-{secrets.token_hex(2)}"
        stacks.append(Stack(tmp_path / name, name, image, settings))
        return stacks[-1]

    yield new
    for stack in stacks:
        stack.remove()


@pytest.fixture(scope="session")
def shared_mysql(image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running project for many tests, because a first boot is slow; tests take `stack` or `mysql_stack`."""
    stack = Stack(tmp_path_factory.mktemp("mysql") / "project", f"{run_name}-mysql", image, {})
    yield stack
    stack.remove()


@pytest.fixture(scope="session")
def shared_mariadb(
    image: str, mariadb_image: str, run_name: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """The same with MariaDB."""
    folder = tmp_path_factory.mktemp("mariadb") / "project"
    stack = Stack(folder, f"{run_name}-mariadb", image, {"MYSQL_IMAGE": mariadb_image})
    yield stack
    stack.remove()


def _serving(stack: Stack) -> Stack:
    """Healthy, with a new container of the service, whatever the test before has left; only the data stays."""
    stack.reset()
    stack.up("mysql")
    stack.up("--no-deps", "--force-recreate", "fastapi")  # a test that failed may have left one
    return stack


@pytest.fixture
def mysql_stack(shared_mysql: Stack) -> Iterator[Stack]:
    """A project that serves, on MySQL; the service's container goes with the test."""
    yield _serving(shared_mysql)
    shared_mysql.compose("rm", "--stop", "--force", "fastapi")


@pytest.fixture(params=["mysql", "mariadb"])
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """A project that serves: the test runs once on MySQL, once on MariaDB."""
    shared = request.getfixturevalue(f"shared_{request.param}")
    yield _serving(shared)
    shared.compose("rm", "--stop", "--force", "fastapi")


@pytest.fixture(params=["mysql", "mariadb"])
def empty_stack(request: pytest.FixtureRequest, new_stack: NewStack) -> Stack:
    """A project without a volume yet: the test runs once on MySQL, once on MariaDB."""
    mariadb = request.param == "mariadb"
    return new_stack(MYSQL_IMAGE=request.getfixturevalue("mariadb_image") if mariadb else None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The swarm comes last: an engine that leaves a swarm forgets the names of the containers that run already."""
    items.sort(key=lambda item: item.path.name == "test_swarm.py")
