"""Servers of a test's own, that it may set up, stop, start and empty as it likes: nobody else is on them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any

from django.db import connection

from tests import servers

SECONDS_TO_START = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find(program: str, *folders: Path) -> str:
    """The path of a server's program."""
    found = shutil.which(program) or next((str(at / program) for at in folders if (at / program).exists()), None)
    return found or servers.missing(f"{program} is not installed, which makes a server to stop")


class OwnPostgreSQL:
    """An instance in a folder of its own; a context manager that starts it, and leaves nothing of it.

    PostgreSQL refuses to run as root: then it runs as the user postgres.
    """

    OPTIONS: Mapping[str, str] = {
        "fsync": "off",  # the machine does not crash, only the server
        "shared_buffers": "32MB",
        "max_connections": "30",
        "synchronous_commit": "local",
    }

    def __init__(self) -> None:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self.pg_ctl, self.initdb = (find(name, *folders) for name in ("pg_ctl", "initdb"))
        self.port = free_port()

    def __enter__(self) -> OwnPostgreSQL:
        self.folder = Path(tempfile.mkdtemp(prefix="pagestats-postgresql-"))
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
        self._run(self.initdb, "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if (self.data / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        settings = {**self.OPTIONS, "port": str(self.port), "unix_socket_directories": str(self.folder)}
        options = " ".join(f"-c {name}={value}" for name, value in settings.items())
        log = str(self.folder / "log")
        self._run(self.pg_ctl, "start", "-w", "-D", str(self.data), "-l", log, "-o", options)

    def stop(self) -> None:
        """At once, as a crash does: sessions are cut off, and the next start recovers from the log."""
        self._run(self.pg_ctl, "stop", "-w", "-D", str(self.data), "-m", "immediate")

    def _run(self, *words: str) -> None:
        as_user: dict[str, Any] = {"user": "postgres", "group": "postgres", "extra_groups": []}
        done = subprocess.run(
            words,
            **(as_user if os.geteuid() == 0 else {}),
            cwd=self.folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_TO_START,
            check=False,
        )
        assert done.returncode == 0, f"{words}:\n{done.stdout}"


@contextmanager
def this_process_on(server: OwnPostgreSQL) -> Iterator[None]:
    """Django's connection goes to the database `postgres` of this server instead, for the length of a block."""
    with _connected_to(HOST="127.0.0.1", PORT=str(server.port), USER="postgres", NAME="postgres"):
        yield


@contextmanager
def _connected_to(**place: str) -> Iterator[None]:
    before = dict(connection.settings_dict)
    connection.close()
    connection.settings_dict.update(place)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


class OwnMariaDB:
    """An instance in a folder of its own, with a user that owns the database `site`; a context manager that starts it.

    MariaDB refuses to run as root: then it runs as the user mysql.
    """

    def __init__(self, **options: str) -> None:
        self.install, self.mariadbd, self.client = map(find, ("mariadb-install-db", "mariadbd", "mariadb"))
        self.options = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
        self.port = free_port()

    def __enter__(self) -> OwnMariaDB:
        self.folder = Path(tempfile.mkdtemp(prefix="pagestats-mariadb-"))
        user = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("mysql")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            user = ["--user=mysql"]
        data = f"--datadir={self.folder / 'data'}"
        normal = ["--auth-root-authentication-method=normal", "--skip-test-db"]
        subprocess.run(
            [self.install, "--no-defaults", *user, data, *normal],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
            timeout=SECONDS_TO_START,
        )
        self.socket = self.folder / "socket"
        places = [f"--port={self.port}", f"--socket={self.socket}", f"--log-error={self.folder / 'log'}"]
        small = ["--innodb-buffer-pool-size=32M", "--innodb-flush-log-at-trx-commit=0", "--bind-address=127.0.0.1"]
        self.process = subprocess.Popen(
            [self.mariadbd, "--no-defaults", *user, data, *places, *small, *self.options], stdin=subprocess.DEVNULL
        )
        try:
            self._make_site(time.monotonic() + SECONDS_TO_START)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _make_site(self, deadline: float) -> None:
        statements = (
            "CREATE DATABASE site CHARACTER SET utf8mb4; CREATE USER site@'%' IDENTIFIED BY 'site';"
            " GRANT ALL PRIVILEGES ON site.* TO site@'%'; DELETE FROM mysql.user WHERE user = ''; FLUSH PRIVILEGES;"
        )
        while True:
            done = subprocess.run(
                [self.client, "--no-defaults", "--user=root", f"--socket={self.socket}", f"--execute={statements}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if not done.returncode:
                return
            assert self.process.poll() is None and time.monotonic() < deadline, done.stdout
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS_TO_START)
        shutil.rmtree(self.folder)


@contextmanager
def this_process_on_mariadb(server: OwnMariaDB) -> Iterator[None]:
    """Django's connection goes to the database `site` of this server instead, as an ordinary user."""
    with _connected_to(HOST="127.0.0.1", PORT=str(server.port), USER="site", PASSWORD="site", NAME="site"):
        yield


class OwnRedis:
    """A server that keeps nothing on disk; a context manager that starts it."""

    def __init__(self, folder: Path) -> None:
        if find_spec("redis") is None:
            servers.missing("no client of Redis is installed")
        self.program = find("redis-server")
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> OwnRedis:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def start(self) -> None:
        with (self.folder / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(
                [self.program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"],
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.is_up():
            assert self.process.poll() is None and time.monotonic() < deadline, "redis-server does not start"
            time.sleep(0.02)

    def is_up(self) -> bool:
        import redis

        with redis.Redis(host="127.0.0.1", port=self.port) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(SECONDS_TO_START)

    def flush(self) -> None:
        import redis

        with redis.Redis(host="127.0.0.1", port=self.port) as client:
            client.flushall()

    def queue_size(self, name: str) -> int:
        """Tasks that wait for a cluster of this name."""
        import redis

        with redis.Redis(host="127.0.0.1", port=self.port) as client:
            return int(client.llen(f"django_q:{name}:q"))
