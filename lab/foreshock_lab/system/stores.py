"""PostgreSQL and Valkey of a system, with data, and their exporters."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from foreshock_lab.system.process import Process, StartError, listens

POSTGRES, VALKEY = "postgres", "valkey"
POSTGRES_PORT, VALKEY_PORT = 5432, 6379
POSTGRES_EXPORTER_PORT, VALKEY_EXPORTER_PORT, NODE_EXPORTER_PORT = 9187, 9121, 9100
POSTGRES_DISK = "320m"
"""Size of the volume of PostgreSQL: small, so that it can be filled."""
_SCHEMA = """
create table products as select g as id, 'product ' || g as name, g % 40 as category, g % 97 + 0.99 as price
  from generate_series(1, 2000) g;
alter table products add primary key (id);
create index on products (category);
create table stock as select g as product, 1000000 as quantity from generate_series(1, 2000) g;
alter table stock add primary key (product);
create table orders (id bigserial primary key, product int, created timestamptz);
create table carts (id bigserial primary key, product int, created timestamptz);
create table reviews as select g % 2000 + 1 as product, g % 5 + 1 as stars, repeat('good ', 10) as text
  from generate_series(1, 10000) g;
create index on reviews (product);
create table documents as select g as id, g % 50 as topic, repeat('text ', 40) as text from generate_series(1, 5000) g;
create index on documents (topic);
create table tickets as select g as id, g % 40 as agent, 'subject ' || g as subject, 'open' as state
  from generate_series(1, 2000) g;
alter table tickets add primary key (id);
create index on tickets (agent);
create table customers as select g as id, 'customer ' || g as name, 'plan ' || g % 3 as plan
  from generate_series(1, 2000) g;
alter table customers add primary key (id);
create table messages (id bigserial primary key, ticket int, created timestamptz);
create table events (id bigserial primary key, ticket int, created timestamptz);
analyze;
"""


def postgres_bin() -> Path:
    """Folder with PostgreSQL's programs.

    Raises:
        StartError: it is not installed.
    """
    found = shutil.which("postgres") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))), None)
    if found is None:
        raise StartError("PostgreSQL is not installed; run `make lab`, which installs it")
    return Path(found).resolve().parent


def make_postgres(address: str, folder: Path) -> tuple[Process, str]:
    """PostgreSQL on a small separate volume, not yet started, and its connection string."""
    data = folder / "postgres"
    data.mkdir()
    _run("mount", "-t", "tmpfs", "-o", f"size={POSTGRES_DISK},mode=0777", "tmpfs", str(data))
    data = data / "data"
    for parent in (folder, *folder.parents[:-1]):  # the server runs as another user
        parent.chmod(parent.stat().st_mode | 0o011)
    programs = postgres_bin()
    data.mkdir()
    shutil.chown(data, "postgres", "postgres")
    _run(
        str(programs / "initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "-N", user="postgres"
    )
    settings = {
        "listen_addresses": address,
        "unix_socket_directories": str(data),
        "shared_buffers": "24MB",
        "max_connections": "80",
        "fsync": "off",
        "autovacuum_naptime": "60s",
        "max_wal_size": "48MB",
        "min_wal_size": "32MB",
        "log_lock_waits": "on",
    }
    with (data / "postgresql.conf").open("a") as file:
        file.writelines(f"{key} = '{value}'\n" for key, value in settings.items())
    with (data / "pg_hba.conf").open("a") as file:
        file.write("host all all 127.0.0.0/8 trust\n")
    process = Process(
        "postgres-0",
        [str(programs / "postgres"), "-D", str(data)],
        {},
        folder,
        lambda: not subprocess.call([programs / "pg_isready", "-q", "-h", address], stdout=subprocess.DEVNULL),
        user="postgres",
    )
    return process, f"postgresql://postgres@{address}:{POSTGRES_PORT}/postgres"


def fill(dsn: str) -> None:
    """Create the tables and their rows."""
    _run(str(postgres_bin() / "psql"), "-q", "-v", "ON_ERROR_STOP=1", "-d", dsn, "-c", _SCHEMA)


def make_valkey(address: str, folder: Path) -> Process:
    """Valkey, or else Redis, without persistence."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise StartError("neither Valkey nor Redis is installed; run `make lab`, which installs it")
    options = {"--bind": address, "--port": str(VALKEY_PORT), "--save": "", "--maxmemory": "32mb", "--dir": str(folder)}
    command = [program, *(part for pair in options.items() for part in pair), "--maxmemory-policy", "allkeys-lru"]
    return Process("valkey-0", command, {}, folder, lambda: listens(address, VALKEY_PORT))


def make_exporters(postgres: str, valkey: str, folder: Path) -> list[Process]:
    """The Prometheus exporters of PostgreSQL, Valkey, and the host."""
    programs = {
        "postgres-exporter": (
            ["prometheus-postgres-exporter", f"--web.listen-address=127.0.0.1:{POSTGRES_EXPORTER_PORT}"],
            {"DATA_SOURCE_NAME": f"{postgres}?sslmode=disable"},
            POSTGRES_EXPORTER_PORT,
        ),
        "valkey-exporter": (
            ["prometheus-redis-exporter", f"-web.listen-address=127.0.0.1:{VALKEY_EXPORTER_PORT}"],
            {"REDIS_ADDR": f"redis://{valkey}:{VALKEY_PORT}"},
            VALKEY_EXPORTER_PORT,
        ),
        "node-exporter": (
            [
                "prometheus-node-exporter",
                f"--web.listen-address=127.0.0.1:{NODE_EXPORTER_PORT}",
                "--collector.disable-defaults",
                *(f"--collector.{name}" for name in ("cpu", "meminfo", "loadavg", "netstat", "uname")),
            ],
            {},
            NODE_EXPORTER_PORT,
        ),
    }
    return [
        Process(name, command, env, folder, lambda port=port: listens("127.0.0.1", port))  # type: ignore[misc]
        for name, (command, env, port) in programs.items()
    ]


def _run(*command: str, user: str | None = None) -> None:
    """Run a command to its end.

    Raises:
        StartError: it failed; the message has its output.
    """
    done = subprocess.run(
        command, capture_output=True, text=True, user=user, group=user, extra_groups=[] if user else None,
        cwd="/", env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    if done.returncode:
        raise StartError(f"{command[0]} failed: {done.stderr or done.stdout}")
