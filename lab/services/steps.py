"""Runs the steps of a request: CPU, waiting, SQL, cache, calls."""

from __future__ import annotations

import asyncio
import hashlib
import math
import random
import time
from pathlib import Path
from typing import Any

import aiohttp
import redis.asyncio as redis

from behavior import Json, strikes
from pool import Database

SIGMA = 0.3
"""Width of the log-normal distribution of waiting."""
RETRY_SECONDS = 0.05


class CallError(Exception):
    """A callee failed, or did not answer in time, after all attempts."""


class Steps:
    """What a service does for its requests.

    Args:
        spec: the service, as `foreshock_lab.topology.model.service_json` writes it.
        database, cache: None if it has none.
        volume: file to which a fault writes.
    """

    def __init__(self, spec: Json, database: Database | None, cache: redis.Redis | None, volume: Path) -> None:
        self._spec, self._database, self._cache, self._volume = spec, database, cache, volume
        self._client: aiohttp.ClientSession | None = None
        self._kept: list[bytearray] = []

    async def open(self) -> None:
        """Connect to the database, and make the client of other services: both belong to the running event loop."""
        if self._database:
            await self._database.open()
        connector = aiohttp.TCPConnector(limit=200, keepalive_timeout=20.0, use_dns_cache=False)
        self._client = aiohttp.ClientSession(connector=connector)

    async def run(self, steps: list[Json], request: dict[str, str], behavior: Json) -> None:
        """Run steps one after another.

        Raises:
            CallError: a required call failed.
            TimeoutError: no connection became free, or a query took too long.
        """
        for step in steps:
            await self._step(step, request, behavior)

    async def disturb(self, behavior: Json) -> None:
        """What a fault adds to a request before its steps.

        Raises:
            RuntimeError: the exception of `exception_ratio`.
            OSError: the volume is full.
        """
        if size := behavior.get("leak_bytes", 0):
            self._kept.append(bytearray(b"x") * size)
        if size := behavior.get("fill_bytes", 0):
            await asyncio.to_thread(append, self._volume, size)
        if seconds := behavior.get("cpu_seconds", 0.0):
            compute(seconds)
        if strikes(behavior, "delay_ratio", 1.0) and (seconds := behavior.get("delay_seconds", 0.0)):
            await asyncio.sleep(_around(seconds))
        if (seconds := behavior.get("hold_connection_seconds", 0.0)) and self._database:
            async with self._database.connection():
                await asyncio.sleep(_around(seconds))
        if strikes(behavior, "exception_ratio"):
            raise RuntimeError(f"unexpected state of {self._spec['name']}")

    async def _step(self, step: Json, request: dict[str, str], behavior: Json) -> None:
        match step["kind"]:
            case "compute":
                compute(step["seconds"])
            case "sleep":
                await asyncio.sleep(_around(step["seconds"]))
            case "query":
                await self._query(step["sql"], int(request.get("item", 1)), behavior)
            case "cache":
                await self._cached(step, request, behavior)
            case "parallel":
                await asyncio.gather(*(self._step(item, request, behavior) for item in step["steps"]))
            case "call":
                await self._maybe_call(step, request, behavior)

    async def _query(self, sql: str, item: int, behavior: Json) -> None:
        assert self._database is not None
        sql = behavior.get("query_sql", sql)
        async with self._database.connection() as connection:
            for _ in range(behavior.get("query_repeat", 1)):
                await connection.fetch(sql, *([item] if "$1" in sql else []))

    async def _cached(self, step: Json, request: dict[str, str], behavior: Json) -> None:
        assert self._cache is not None
        key = f"{step['prefix']}:{request.get('item', 1)}"
        if await self._cache.get(key) is None:
            await self.run(step["steps"], request, behavior)
            await self._cache.set(key, b"x" * 200, ex=int(step["ttl"]))

    async def _maybe_call(self, step: Json, request: dict[str, str], behavior: Json) -> None:
        if step["service"] in behavior.get("skip_calls", ()) or random.random() >= step["ratio"]:  # noqa: S311
            return
        try:
            await self._call(step, request, behavior)
        except CallError:
            if step["required"]:
                raise

    async def _call(self, step: Json, request: dict[str, str], behavior: Json) -> None:
        assert self._client is not None
        url = f"http://{step['service']}:8080/{step['operation']}"
        timeout = aiohttp.ClientTimeout(total=behavior.get("timeout_seconds", self._spec["timeout"]))
        attempts = 1 + int(behavior["retries"] if "retries" in behavior else self._spec["retries"])
        problem = ""
        for attempt in range(attempts):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS * attempt)
            try:
                async with self._client.get(url, params=request, timeout=timeout) as answer:
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = f"{type(error).__name__}"
                continue
            if answer.status < 500:
                return
            problem = f"status {answer.status}"
        raise CallError(f"{step['service']}: {problem}")


def compute(seconds: float) -> None:
    """Use CPU time of the calling thread."""
    end = time.thread_time() + seconds
    block = b"x" * 4096
    while time.thread_time() < end:
        hashlib.sha256(block).digest()


def append(path: Path, size: int) -> None:
    """Write bytes to the end of a file."""
    with path.open("ab") as file:
        file.write(b"x" * size)


def _around(seconds: float) -> float:
    return random.lognormvariate(math.log(seconds) - SIGMA**2 / 2, SIGMA)


def pooled(spec: Json, dsn: str) -> Database | None:
    """The pool of a service that has queries."""
    return Database(dsn, spec["pool_size"], spec["timeout"]) if _any(spec["operations"], "query") else None


def cached(spec: Json, url: str) -> Any:  # noqa: ANN401 - redis has no type for both protocols
    """The client of a service that has cached items."""
    return redis.from_url(url, socket_timeout=spec["timeout"]) if _any(spec["operations"], "cache") else None


def _any(items: list[Json], kind: str) -> bool:
    return any(item.get("kind") == kind or _any(item.get("steps", []), kind) for item in items)
