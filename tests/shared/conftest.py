"""A real PostgreSQL on a free port of loopback, and an empty database for each test."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from itertools import count
from pathlib import Path

import pytest
from tests.conftest import Eventually
from tests.ports import free_port

from foreshock_dashboard.shared.database import SharedDatabase

NAMES = count()
LOGIN_USER = "hub"
"""A user who is let in with a password only."""


class Postgres:
    """A server. It runs as the user `postgres` where the tests run as root, which it refuses."""

    def __init__(self, folder: Path) -> None:
        found = shutil.which("postgres") or next(map(str, Path("/usr/lib/postgresql").glob("*/bin/postgres")), None)
        if found is None:
            pytest.skip("PostgreSQL is not installed; `make setup-tests` installs it")
        self._programs = Path(found).resolve().parent
        self._user = "postgres" if os.getuid() == 0 else None
        self._folder, self._port = folder, free_port()
        if self._user:
            shutil.chown(folder, self._user)
        flags = ("-U", "foreshock", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        self._run("initdb", "-D", str(folder / "data"), *flags)
        rules = folder / "data" / "pg_hba.conf"
        rules.write_text(f"host all {LOGIN_USER} 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        settings = {"listen_addresses": "127.0.0.1", "port": self._port, "unix_socket_directories": "", "fsync": "off"}
        flags = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data"), *flags]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=self._user)

    def is_ready(self) -> bool:
        """Whether it answers."""
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        return subprocess.call(command) == 0

    def end(self, number: int = signal.SIGINT) -> None:
        """End it; by default at once, though clients are connected."""
        if self._process:
            self._process.send_signal(number)
            self._process.wait(30)
            self._process = None

    def create(self) -> str:
        """The URL of a new, empty database."""
        name = f"hubs{next(NAMES)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self._port), "-U", "foreshock", name)
        return f"postgresql://foreshock@127.0.0.1:{self._port}/{name}"

    def _run(self, program: str, *words: str) -> None:
        subprocess.run(
            [str(self._programs / program), *words], check=True, stdout=subprocess.DEVNULL, user=self._user, cwd="/"
        )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running server."""
    with tempfile.TemporaryDirectory(prefix="foreshock-postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        yield server
        server.end()


@pytest.fixture
def url(postgres: Postgres, eventually: Eventually) -> str:
    """The URL of an empty database."""
    eventually(postgres.is_ready, "PostgreSQL answers")
    return postgres.create()


@pytest.fixture(name="connect")
def _connect(url: str) -> Iterator[Callable[[], SharedDatabase]]:
    """Connect one more hub to the database."""
    with ExitStack() as opened:
        yield lambda: opened.enter_context(closing(SharedDatabase(url)))
