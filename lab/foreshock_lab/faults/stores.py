"""Faults of PostgreSQL and Valkey, from outside of the services."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable

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


class Periodic:
    """Something that is done again and again in a thread, with a pause that follows from the amount."""

    def __init__(self, action: Callable[[float], float]) -> None:
        self._action = action
        self._amount = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="fault")

    def set(self, amount: float) -> None:
        """Set the amount, and begin."""
        self._amount = amount
        if not self._thread.ident:
            self._thread.start()

    def clear(self) -> None:
        """End it, and wait until it has ended."""
        self._ended.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        pause = 0.0
        while not self._ended.wait(pause):
            pause = self._action(self._amount)


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
        tell(system.valkey, "FLUSHALL")
        return 60.0 / max(rate, 1.0)

    return Periodic(flush)


def cache_stall(system: System, _name: str) -> Periodic:
    """Valkey answers nobody for a share of every ten seconds, as during a command over all keys."""

    def stall(share: float) -> float:
        tell(system.valkey, f"CLIENT PAUSE {round(1000 * min(share, 1.0) * LOCK_SECONDS)} ALL")
        return LOCK_SECONDS

    return Periodic(stall)


def tell(address: tuple[str, int], command: str) -> None:
    """Send a command to Valkey, and read its answer."""
    with contextlib.suppress(OSError), socket.create_connection(address, timeout=2.0) as connection:
        connection.sendall(f"{command}\r\n".encode())
        connection.recv(64)
