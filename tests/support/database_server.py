"""A real MySQL-compatible server of the tests' own: MariaDB or MySQL, whichever this machine has."""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import certificates
import pymysql
from ports import free_port

from settings import Settings

READY = re.compile(r"(mariadbd|mysqld): ready for connections")
SBIN = "/usr/sbin:/usr/local/sbin:/usr/libexec"


class DatabaseServer:
    """A server process on a port and in a folder of its own."""

    password = "T0p-s3cret:@/#%"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._log = folder / "log"
        self._log_seen = 0
        self.socket = Path(f"/tmp/db-{os.getpid()}-{free_port()}.sock")  # a socket's path must be short
        self.port = free_port()
        self.ca = certificates.make(folder)
        self._program = _find("mariadbd", "mysqld")
        self._process: subprocess.Popen[bytes] | None = None
        self._install()

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def start(self) -> None:
        """Starts the server and returns when it answers."""
        self.begin()
        assert self._process
        deadline = time.monotonic() + 60
        while not READY.search(self._log.read_text()[self._log_seen :]):
            assert self._process.poll() is None, self._log.read_text()[-2000:]
            assert time.monotonic() < deadline, "the database server does not start"
            time.sleep(0.02)

    def begin(self) -> None:
        """Starts the server without waiting for it."""
        options = [
            f"--datadir={self.data}",
            f"--port={self.port}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--tmpdir={self.folder}",
            "--bind-address=127.0.0.1",
            "--skip-name-resolve",
            "--innodb-buffer-pool-size=16M",
            "--innodb-flush-log-at-trx-commit=0",
            f"--ssl-ca={self.ca}",
            f"--ssl-cert={self.folder / 'server.pem'}",
            f"--ssl-key={self.folder / 'server.key'}",
        ]
        if os.geteuid() == 0:
            options.append("--user=root")
        self._log.touch()
        self._log_seen = len(self._log.read_text())
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([self._program, "--no-defaults", *options], stdout=log, stderr=log)

    def stop(self) -> None:
        """Shuts down in order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)
            self.thaw()
            self._process.wait(30)

    def freeze(self) -> None:
        """Stops it where it stands: connections stay open, nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)
        while any(" T " not in path.read_text() for path in Path(f"/proc/{self.pid}/task").glob("*/stat")):
            time.sleep(0.001)  # the signal has been sent, but a thread may still be running

    def thaw(self) -> None:
        if self._process and self._process.poll() is None:
            os.kill(self.pid, signal.SIGCONT)

    def restore(self) -> None:
        """Makes it run, with an account and a database as if no test had been there before."""
        self.thaw()
        if not self._process or self._process.poll() is not None:
            self.start()
        self.sql("SET GLOBAL max_connections = 151", "SET GLOBAL wait_timeout = 28800")
        self.sql("SET GLOBAL init_connect = ''")
        self.sql(*(f"DROP USER '{user}'@'{host}'" for user, host in self._accounts()), "DROP DATABASE IF EXISTS app")
        self.sql(
            "CREATE DATABASE app CHARACTER SET utf8mb4",
            "CREATE USER app@'%'",
            "GRANT ALL ON app.* TO app@'%'",
            "FLUSH PRIVILEGES",
        )
        self.set_password(self.password)

    def _accounts(self) -> list[tuple[str, str]]:
        return [(user, host) for user, host in self.sql("SELECT user, host FROM mysql.user") if user.startswith("app")]

    def set_password(self, password: str) -> None:
        self.sql(("ALTER USER app@'%%' IDENTIFIED BY %s", [password]))

    def sql(self, *statements: str | tuple[str, Any]) -> list[Any]:
        """Runs statements as root and returns the rows of the last one."""
        with self.root() as root, root.cursor() as cursor:
            for statement in statements:
                cursor.execute(*((statement,) if isinstance(statement, str) else statement))
            return list(cursor.fetchall())

    def root(self, autocommit: bool = True) -> "pymysql.Connection[pymysql.cursors.Cursor]":
        return pymysql.connect(unix_socket=str(self.socket), user="root", autocommit=autocommit)

    def connections(self, user: str = "app") -> list[int]:
        """The ids of the user's connections, as the server sees them."""
        return [row[0] for row in self.sql(("SELECT id FROM information_schema.processlist WHERE user = %s", [user]))]

    def is_at(self, statement: str) -> bool:
        """Whether the app has a statement of this text under way."""
        return bool(self.sql(("SELECT id FROM information_schema.processlist WHERE info = %s", [statement])))

    def status(self, name: str) -> int:
        return int(self.sql(f"SHOW GLOBAL STATUS LIKE '{name}'")[0][1])

    def _install(self) -> None:
        user = ["--user=root"] if os.geteuid() == 0 else []
        if Path(self._program).name == "mariadbd":
            installer = [_find("mariadb-install-db"), "--no-defaults", "--auth-root-authentication-method=normal"]
        else:
            installer = [self._program, "--no-defaults", "--initialize-insecure"]
        own_tmp = os.environ | {"TMPDIR": str(self.folder)}  # two at once in one folder remove each other's files
        command = [*installer, f"--datadir={self.data}", *user]
        done = subprocess.run(command, env=own_tmp, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr


def settings_for(server: DatabaseServer, **changes: object) -> Settings:
    """What the service would be told to connect to `server`, with changes."""
    values = {"mysql_host": "127.0.0.1", "mysql_port": server.port, "mysql_database": "app", "mysql_user": "app"}
    return Settings.model_validate({**values, "mysql_password": server.password, **changes})


def _find(*programs: str) -> str:
    for program in programs:
        if path := shutil.which(program, path=f"{os.environ['PATH']}:{SBIN}"):
            return path
    raise FileNotFoundError(f"none of {', '.join(programs)} is installed: apt-get install mariadb-server")
