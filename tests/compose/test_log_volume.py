"""LOG_DIR in a container: on a volume, one that is full, and one that is read-only."""

import time

import pytest
from compose.conftest import NewStack
from compose.stack import Stack

pytestmark = [pytest.mark.compose, pytest.mark.timeout(600)]

OWN_VOLUME = """
services:
  fastapi:
    environment: {{LOG_DIR: /var/log/app}}
    {volume}
"""
SMALL = 'tmpfs: ["/var/log/app:size=64k,uid=10001"]'
READ_ONLY = "volumes: [{type: volume, source: logs, target: /var/log/app, read_only: true}]\nvolumes: {logs: }"


def lines(stack: Stack) -> str:
    return stack.compose("exec", "fastapi", "sh", "-c", "cat /var/log/app/*")


def test_the_files_outlive_the_container(new_stack: NewStack) -> None:
    """docker-compose.logs.yml: the user of the image may write there, and a new container leaves the old file alone."""
    stack = new_stack()
    stack.files = ["docker-compose.yml", "docker-compose.logs.yml"]
    stack.up()
    stack.up("--no-deps", "--force-recreate", "fastapi")

    stack.until(lambda: lines(stack).count("ready after") == 2)

    assert len(stack.compose("exec", "fastapi", "ls", "/var/log/app").split()) == 2


def test_a_full_volume_stops_nobody(new_stack: NewStack) -> None:
    """Requests go on, one warning says why, and with room again the lines that waited are there."""
    stack = new_stack()
    stack.override(OWN_VOLUME.format(volume=SMALL))
    stack.up()
    since = time.time()

    codes = {stack.get("/api/").status for _ in range(1000)}  # about 100 KB of lines
    stack.until(lambda: "No space left on device" in stack.log("fastapi", since))
    stack.compose("exec", "fastapi", "sh", "-c", "rm /var/log/app/*")
    stack.until(lambda: "0 lines were dropped" in stack.log("fastapi", since))

    assert codes == {200}
    assert stack.log("fastapi", since).count("cannot be written to") == 1
    assert "is written to again" in lines(stack)


def test_a_read_only_volume_stops_nobody(new_stack: NewStack) -> None:
    """The service starts, serves, and says once that the volume cannot be written to."""
    stack = new_stack()
    stack.override(OWN_VOLUME.format(volume=READ_ONLY))

    stack.up()

    assert stack.get("/api/").status == 200
    assert stack.log("fastapi").count("LOG_DIR=/var/log/app cannot be written to: Read-only file system") == 1
