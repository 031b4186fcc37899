"""Faults of PostgreSQL and Valkey, from outside of the services."""

from __future__ import annotations

import contextlib
import socket
import subprocess

from foreshock_lab.faults.periodic import Periodic
from foreshock_lab.faults.target import System

LOCK_SECONDS = 10.0
"""Period of locks and stalls."""
LOCK = """
do $$ declare name text; begin
  for name in select quote_ident(tablename) from pg_tables where schemaname = 'public' loop
    execute 'lock table ' || name || ' in access exclusive mode';
  end loop;
  perform pg_sleep({seconds});
end $$
"""


def table_lock(system: System, _name: str) -> Periodic:
    """A transaction locks all tables for a share of every ten seconds, as a repeated migration does."""

    def lock(share: float) -> float:
        seconds = min(share, 1.0) * LOCK_SECONDS
        if seconds >= 0.05:
            sql = LOCK.format(seconds=seconds)
            subprocess.run(["psql", "-q", "-d", system.postgres, "-c", sql], check=True)
        return LOCK_SECONDS - seconds

    return Periodic(lock)


def cache_flush(system: System, _name: str) -> Periodic:
    """All keys of Valkey are deleted, `amount` times per minute."""

    def flush(rate: float) -> float:
        send(system.valkey, "FLUSHALL")
        return 60.0 / max(rate, 1.0)

    return Periodic(flush)


def cache_stall(system: System, _name: str) -> Periodic:
    """Valkey answers no client for a share of every ten seconds, as during a command over all keys."""

    def stall(share: float) -> float:
        send(system.valkey, f"CLIENT PAUSE {round(1000 * min(share, 1.0) * LOCK_SECONDS)} ALL")
        return LOCK_SECONDS

    return Periodic(stall)


def send(address: tuple[str, int], command: str) -> None:
    """Send a command to Valkey, and read its answer."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=2.0) as connection:
        connection.sendall(f"{command}\r\n".encode())
        connection.recv(64)
