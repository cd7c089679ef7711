"""docker-compose.prod.yml as an operator runs it, with Pebble in place of Let's Encrypt, and a visitor from outside."""

import http.client
import json
import os
import secrets
import shutil
import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple
from urllib.parse import urlencode

import certificates
from compose.stack import NO_ANSWER, PROJECT, Stack
from ports import free_port

HOST = "site.test"
REPLICAS = ("fastapi", "fastapi-2")
PEBBLE = """
services:
  pebble:
    image: ${PEBBLE_IMAGE:-letsencrypt/pebble:2}
    command: [-config, /pebble/config.json]
    environment: {PEBBLE_VA_NOSLEEP: 1}
    networks: [front]
    volumes: [./pebble:/pebble:ro]
  caddy:
    depends_on: [pebble]
    environment: {ACME_CA: "https://pebble:14000/dir", ACME_CA_ROOT: /pebble/pebble-ca.pem}
    networks: {front: {aliases: [site.test]}}
    volumes: [./pebble:/pebble:ro]
"""
PEBBLE_CONFIG = {
    "listenAddress": "0.0.0.0:14000",
    "managementListenAddress": "0.0.0.0:15000",
    "certificate": "/pebble/pebble.pem",
    "privateKey": "/pebble/pebble.key",
    "httpPort": 80,
    "tlsPort": 443,
}
FETCH_ROOT = """
import ssl, urllib.request
context = ssl._create_unverified_context()
print(urllib.request.urlopen("https://pebble:15000/roots/0", context=context, timeout=5).read().decode())
"""


class Reply(NamedTuple):
    """What a visitor gets; the status is NO_ANSWER where nobody answered."""

    status: int
    headers: Mapping[str, str]
    text: str


class Site(Stack):
    """The stack of production. `get` of the parent is for a published port of the service, which it has not."""

    def __init__(self, folder: Path, name: str, image: str) -> None:
        self.http, self.https = free_port(), free_port()
        self.root: ssl.SSLContext | None = None
        super().__init__(folder, name, image, {})
        shutil.copytree(PROJECT / "deploy", folder / "deploy")
        self.files = ["docker-compose.prod.yml", "docker-compose.prod-mysql.yml", "pebble.yml"]
        self.set(
            COMPOSE_PROJECT_NAME=name, COMPOSE_FILE=":".join(self.files), SERVICE_IMAGE=f"{name}-fastapi",
            MYSQL_HOST="mysql", MYSQL_PASSWORD="in-a-file", SITE=HOST, PEBBLE_IMAGE=os.environ.get("PEBBLE_IMAGE"),
            HTTP_PORT=f"127.0.0.1:{self.http}", HTTPS_PORT=f"127.0.0.1:{self.https}",
        )  # fmt: skip
        (folder / "secrets").mkdir()
        for file in ("mysql_password", "migrate_password", "admin_password", "jwt_secret"):
            (folder / "secrets" / file).write_text(secrets.token_urlsafe())
        (folder / "pebble").mkdir()
        certificates.make(folder / "pebble", "pebble", "pebble")
        (folder / "pebble" / "pebble.key").chmod(0o644)
        (folder / "pebble" / "config.json").write_text(json.dumps({"pebble": PEBBLE_CONFIG}))
        (folder / "pebble.yml").write_text(PEBBLE)

    def remove(self) -> None:
        self.compose("down", "--volumes", "--timeout", "5", seconds=120)
        super().remove()

    def login(self, form: Mapping[str, str], headers: Mapping[str, str]) -> Reply:
        """One attempt to log in."""
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        return self.visit("/api/login", {**headers, **kind}, urlencode(form))

    def visit(self, path: str = "/health", headers: Mapping[str, str] | None = None, body: str | None = None) -> Reply:
        """One request over https, verified with the root certificate of Pebble: GET, or POST where there is a body."""
        if self.root is None:
            fetch = self.try_compose("exec", "-T", "fastapi", "python", "-c", FETCH_ROOT)
            self.root = ssl.create_default_context(cadata=fetch.stdout) if fetch.returncode == 0 else None
        try:
            with socket.create_connection(("127.0.0.1", self.https), timeout=30) as plain:
                assert self.root, "Pebble does not answer"
                connection = http.client.HTTPConnection(HOST)
                connection.sock = self.root.wrap_socket(plain, server_hostname=HOST)
                return _reply(connection, path, headers or {}, body)
        except (OSError, http.client.HTTPException) as error:
            return Reply(NO_ANSWER, {}, repr(error))

    def visit_http(self, path: str) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.http, timeout=30)
        return _reply(connection, path, {"Host": HOST})


def _reply(
    connection: http.client.HTTPConnection, path: str, headers: Mapping[str, str], body: str | None = None
) -> Reply:
    connection.request("POST" if body else "GET", path, body, dict(headers))
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, text)


class Visitors:
    """Threads that ask for `path` without a pause for as long as the block lasts; `replies` is what they got."""

    def __init__(self, site: Site, path: str, number: int) -> None:
        self.replies: list[Reply] = []
        self._stop = Event()
        self._threads = [Thread(target=self._ask, args=(site, path)) for _ in range(number)]

    def _ask(self, site: Site, path: str) -> None:
        while not self._stop.is_set():
            self.replies.append(site.visit(path))

    def __enter__(self) -> "Visitors":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
