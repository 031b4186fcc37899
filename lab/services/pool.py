"""Connections to PostgreSQL and Valkey, with the metrics of a client's pool in OpenTelemetry's names."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from prometheus_client import Counter, Gauge, Histogram

_POOL = ["pool_name"]
USAGE = Gauge("db_client_connections_usage", "Connections by state.", [*_POOL, "state"])
MAX = Gauge("db_client_connections_max", "Limit of connections.", _POOL)
PENDING = Gauge("db_client_connections_pending_requests", "Requests that wait for a connection.", _POOL)
TIMEOUTS = Counter("db_client_connections_timeouts", "Requests that got no connection in time.", _POOL)
WAIT = Histogram(
    "db_client_connections_wait_time_seconds",
    "Time until a connection was free.",
    _POOL,
    buckets=(0.001, 0.01, 0.1, 1.0, 10.0),
)


class Database:
    """A bounded pool of connections, opened at the first use."""

    def __init__(self, dsn: str, size: int, timeout: float) -> None:
        self._dsn, self._size, self._timeout = dsn, size, timeout
        self._pool: asyncpg.Pool | None = None
        MAX.labels("postgres").set(size)
        USAGE.labels("postgres", "used").set_function(lambda: self._count() - self._idle())
        USAGE.labels("postgres", "idle").set_function(self._idle)

    async def open(self) -> None:
        """Connect."""
        self._pool = await asyncpg.create_pool(
            self._dsn, min_size=1, max_size=self._size, command_timeout=self._timeout, statement_cache_size=32
        )

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[asyncpg.Connection]:
        """A connection of the pool.

        Raises:
            TimeoutError: none became free in time.
        """
        assert self._pool is not None
        began = time.perf_counter()
        with PENDING.labels("postgres").track_inprogress():
            try:
                connection = await self._pool.acquire(timeout=self._timeout)
            except TimeoutError:
                TIMEOUTS.labels("postgres").inc()
                raise
            finally:
                WAIT.labels("postgres").observe(time.perf_counter() - began)
        try:
            yield connection
        finally:
            await self._pool.release(connection)

    def _count(self) -> int:
        return self._pool.get_size() if self._pool else 0

    def _idle(self) -> int:
        return self._pool.get_idle_size() if self._pool else 0
