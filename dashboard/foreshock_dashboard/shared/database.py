"""The PostgreSQL database that hubs share: its tables, its newest entry, and which hub leads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import partial
from pathlib import Path
from typing import TypeVar

import asyncpg

from foreshock_dashboard.common.addresses import without_credentials
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.shared.state import SharedState
from foreshock_dashboard.store import StoreError

Result = TypeVar("Result")

POLL_SECONDS = 1.0
"""Time after which another hub's entry is known, and the lead of a hub that was lost is taken."""
RETRY_SECONDS = 2.0
TIMEOUT_SECONDS = 5.0
"""Longest wait for an answer of the server, and for a connection to it."""
FORMAT = 1
"""Version of the tables."""
APPEND_LOCK, LEADER_LOCK = 0x66737301, 0x66737302
"""First keys of locks; the second is the schema, so that hubs with other schemas are not affected."""
_SCHEMA = """
create table if not exists foreshock_format (version integer not null);
create table if not exists foreshock_journal (
    seq bigserial primary key,
    kind text not null, at double precision not null, author text not null, data json not null
);
create index if not exists foreshock_journal_by_kind on foreshock_journal (kind, seq);
create table if not exists foreshock_outbox (
    channel text not null, subject text not null, event text not null, at double precision not null, body text not null,
    waiting boolean not null, attempts integer not null, not_before double precision not null,
    primary key (channel, subject)
);
"""
_KEEPALIVES = {"tcp_keepalives_idle": "5", "tcp_keepalives_interval": "2", "tcp_keepalives_count": "3"}
"""The server ends the connection of a hub that vanished within 11 s, and so its lead, instead of two hours."""

log = logging.getLogger(__name__)


class SharedDatabase:
    """A connection to the database, kept open in a dedicated thread, and opened again after a failure. Thread-safe.

    Of the hubs that share a database, one leads: it has a lock, which the server passes on to another hub
    when it loses the connection. While the database cannot be reached, each hub leads: a page that is sent twice is
    better than none.

    url: as libpq's, such as `postgresql://USER@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE`. The connection must
    be to the server itself or through a pooler in session mode, since the lock belongs to it.
    password_file: has the password, and is read for each connection.

    problem: why the database cannot be used; "" if it can.
    """

    def __init__(self, url: str, password_file: Path | None = None) -> None:
        self.problem = ""
        self.newest = 0
        """The highest `seq` in the journal, as of the last look."""
        self._password = partial(_first_line, password_file) if password_file else None
        self._url, self._place = url, without_credentials(url).partition("?")[0]
        self._connection: asyncpg.Connection | None = None
        self._has_lock = False
        self._log = LogOnChange(log, logging.ERROR, f"PostgreSQL at {self._place} can be used again")
        self._loop = asyncio.new_event_loop()
        self._turn = asyncio.Lock()
        self._ended = asyncio.Event()
        self._tried = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shared-state", daemon=True)
        self._thread.start()
        self._tried.wait(2 * TIMEOUT_SECONDS)

    @property
    def leads(self) -> bool:
        """Whether this hub notifies."""
        return self._has_lock or bool(self.problem)

    def state(self) -> SharedState:
        """The state as of now."""
        return SharedState(self._place, self.leads, self.problem)

    def close(self) -> None:
        """Close the connection; another hub may lead. May be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(TIMEOUT_SECONDS)

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        """The result of work on the connection, in a transaction.

        Raises:
            StoreError: the database cannot be used, or did not do it.
            ValueError: it cannot hold a value.
        """
        if self.problem:
            raise StoreError(self.problem)
        try:
            future: Future[Result] = asyncio.run_coroutine_threadsafe(self._in_turn(work), self._loop)
            return future.result(3 * TIMEOUT_SECONDS)
        except asyncpg.DataError as error:
            raise ValueError(f"PostgreSQL cannot hold a value: {error}") from error
        except (OSError, RuntimeError, TimeoutError, FutureTimeoutError, *_FAILURES) as error:
            raise StoreError(self._reason(error)) from error

    async def _in_turn(self, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        async with self._turn:
            connection = self._connection
            if connection is None:
                raise ConnectionError("not connected")
            try:
                async with connection.transaction():
                    return await work(connection)
            except TimeoutError:
                connection.terminate()  # whether the server still answers is unknown
                raise

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._stay_connected())

    async def _stay_connected(self) -> None:
        while not self._ended.is_set():
            try:
                await self._connect_and_watch()
                problem = ""
            except (OSError, ValueError, TimeoutError, *_FAILURES) as error:
                problem = self._reason(error)
            except Exception as error:
                log.exception("shared state: failed")
                problem = self._reason(error)
            self._connection, self._has_lock = None, False
            self.problem = problem
            self._log.update(problem)
            self._tried.set()
            await self._wait(RETRY_SECONDS)

    async def _connect_and_watch(self) -> None:
        """Connect, and look at the newest entry and the lead from time to time until the hub ends."""
        connection = await asyncpg.connect(
            self._url,
            password=self._password,
            timeout=TIMEOUT_SECONDS,
            command_timeout=TIMEOUT_SECONDS,
            server_settings={"application_name": "foreshock", **_KEEPALIVES},
        )
        try:
            await _prepare(connection)
            while not self._ended.is_set():
                async with self._turn:
                    self.newest = await connection.fetchval("select coalesce(max(seq), 0) from foreshock_journal")
                    if not self._has_lock:
                        self._has_lock = await connection.fetchval(f"select pg_try_advisory_lock({_key(LEADER_LOCK)})")
                        if self._has_lock:
                            log.info("this hub leads those that share %s: it notifies", self._place)
                self._connection, self.problem = connection, ""
                self._log.update("")
                self._tried.set()
                await self._wait(POLL_SECONDS)
        finally:
            try:
                await connection.close(timeout=1.0)
            except (OSError, TimeoutError, *_FAILURES):
                connection.terminate()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _reason(self, error: BaseException) -> str:
        text = without_credentials(str(error)) or type(error).__name__
        return f"PostgreSQL at {self._place}: {text}. Check --postgres-url and the server"


async def lock_appends(connection: asyncpg.Connection) -> None:
    """Let one hub at a time append until the transaction ends, so that entries are seen in the order of their `seq`."""
    await connection.execute(f"select pg_advisory_xact_lock({_key(APPEND_LOCK)})")


async def _prepare(connection: asyncpg.Connection) -> None:
    """Create the tables if there are none. Raises ValueError for those of a later version."""
    async with connection.transaction():
        await lock_appends(connection)
        await connection.execute(_SCHEMA)
        version = await connection.fetchval("select max(version) from foreshock_format")
        if version is None:
            await connection.execute("insert into foreshock_format values ($1)", FORMAT)
        elif version > FORMAT:
            raise ValueError(
                f"its tables have format {version}, and this version knows up to {FORMAT}; upgrade the hub"
            )


def _first_line(path: Path) -> str:
    return path.read_text().partition("\n")[0]


def _key(lock: int) -> str:
    return f"{lock:d}, hashtext(current_schema())"


_FAILURES = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
