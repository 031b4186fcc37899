"""The PostgreSQL database that hubs share: its tables, its newest entry, and which hub leads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import NamedTuple, TypeVar

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
COPY_SECONDS = 120.0
"""The same for the journal of the first hub."""
UNFIT_SECONDS, PAUSE_SECONDS = 10.0, 3.0
"""Time after which a hub that cannot evaluate offers the lead to others, and for how long."""
COUNT_POLLS = 30
"""Polls between two counts of the journal's entries."""
FORMAT = 1
"""Version of the tables."""
APPEND_LOCK, LEADER_LOCK = 0x66737301, 0x66737302
"""First keys of locks; the second is the schema, so that hubs with other schemas are not affected."""
COLUMNS = ("seq", "kind", "at", "author", "data")
_TABLES = """
create table foreshock_format (version integer not null);
create table foreshock_journal (
    seq bigserial primary key,
    kind text not null, at double precision not null, author text not null, data json not null
);
create index foreshock_journal_by_kind on foreshock_journal (kind, seq);
create table foreshock_outbox (
    channel text not null, subject text not null, event text not null, at double precision not null, body text not null,
    waiting boolean not null, attempts integer not null, not_before double precision not null,
    primary key (channel, subject)
);
"""
_EXISTS = "select exists(select from pg_tables where schemaname = current_schema() and tablename = 'foreshock_format')"
"""A query of a table sees what another session has committed, to_regclass what this one has cached."""
_SESSION = """
set idle_session_timeout = '10s';
set idle_in_transaction_session_timeout = '10s';
set tcp_user_timeout = '10s';
"""
"""The server ends the session of a hub that is stuck or unreachable, and so its lead. As statements, because a pooler
refuses them as parameters of the connection."""
_COUNTS = "select kind, count(*), sum(octet_length(data::text)) from foreshock_journal group by kind"
_FAILURES = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)

log = logging.getLogger(__name__)


class Row(NamedTuple):
    """A row of the journal. data: JSON."""

    seq: int
    kind: str
    at: float
    author: str
    data: str


class SharedDatabase:
    """A connection to the database, kept open in a dedicated thread, and opened again after a failure. Thread-safe.

    Of the hubs that share a database, one leads: it has a lock, which the server passes on to another hub when it ends
    the session. While a hub cannot use the database, it leads as well: a page that is sent twice is better than none.

    Args:
        url: as libpq's, such as `postgresql://USER@HOST/DATABASE?sslmode=verify-full&sslrootcert=FILE`. A pooler must
            be in session mode, since the lock belongs to the session.
        password_file: has the password, and is read for each connection.
        first_rows: those with which the journal begins if this hub creates the tables.
        fit: whether this hub can evaluate; one that cannot offers the lead to the others.
        part: which part of the incidents it has, such as "shard 1/2"; one hub of each part leads.

    Attributes:
        problem: why the database cannot be used; "" if it can.
        newest: the highest `seq` in the journal as of the last look.
        counts: entries of the journal, and bytes of their data, by kind, at most half a minute old.
    """

    def __init__(
        self,
        url: str,
        password_file: Path | None = None,
        first_rows: Callable[[], Sequence[Row]] = tuple,
        fit: Callable[[], bool] = lambda: True,
        part: str = "",
    ) -> None:
        self.problem = ""
        self.newest = 0
        self.counts: Mapping[str, tuple[int, int]] = {}
        self._password = partial(_first_line, password_file) if password_file else None
        self._first_rows, self._fit = first_rows, fit
        self._lead_key = _key(LEADER_LOCK, part)
        self._url, self._place = url, without_credentials(url).partition("?")[0]
        self._connection: asyncpg.Connection | None = None
        self._has_lock = self._closed = False
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
        if not self._closed:
            self._closed = True
            self._loop.call_soon_threadsafe(self._ended.set)
            self._thread.join(TIMEOUT_SECONDS)

    def run(self, work: Callable[[asyncpg.Connection], Awaitable[Result]]) -> Result:
        """The result of work on the connection, in a transaction.

        Raises:
            StoreError: the database cannot be used, or did not do it.
            ValueError: it cannot hold a value.
        """
        if self.problem or self._closed:
            raise StoreError(self.problem or "the hub is ending")
        future: Future[Result] = asyncio.run_coroutine_threadsafe(self._in_turn(work), self._loop)
        try:
            return future.result(3 * TIMEOUT_SECONDS)
        except asyncpg.DataError as error:
            raise ValueError(f"PostgreSQL cannot hold a value: {error}") from error
        except _FAILURES as error:
            future.cancel()
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
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))

    async def _stay_connected(self) -> None:
        while not self._ended.is_set():
            problem = ""
            try:
                await self._connect_and_watch()
            except (*_FAILURES, ValueError) as error:
                problem = self._reason(error)
            except Exception as error:
                problem = self._reason(error)
                if problem != self.problem:
                    log.exception("shared state failed")
            again = self._connection is not None
            self._connection, self._has_lock = None, False
            if again:
                continue  # once at once: a session may end without an outage
            self.problem = problem
            self._log.update(problem)
            self._tried.set()
            await self._wait(RETRY_SECONDS)

    async def _connect_and_watch(self) -> None:
        """Connect, and look at the newest entry and the lead from time to time until the hub ends."""
        connection = await asyncpg.connect(
            self._url, password=self._password, timeout=TIMEOUT_SECONDS, command_timeout=TIMEOUT_SECONDS
        )
        try:
            await connection.execute(_SESSION)
            await prepare(connection, self._first_rows)
            polls, offered = 0, self._loop.time()
            while not self._ended.is_set():
                async with self._turn:
                    self.newest = await connection.fetchval("select coalesce(max(seq), 0) from foreshock_journal")
                    if polls % COUNT_POLLS == 0:
                        self.counts = {kind: (rows, size) for kind, rows, size in await connection.fetch(_COUNTS)}
                    offered = await self._lead(connection, offered)
                polls += 1
                self._connection, self.problem = connection, ""
                self._log.update("")
                self._tried.set()
                await self._wait(POLL_SECONDS)
        finally:
            try:
                await connection.close(timeout=1.0)
            except _FAILURES:
                connection.terminate()

    async def _lead(self, connection: asyncpg.Connection, offered: float) -> float:
        """Take the lead if no hub has it, or offer it; when it was taken or offered, by the loop's clock."""
        now = self._loop.time()
        if self._has_lock and not self._fit() and now - offered > UNFIT_SECONDS:
            self._has_lock = False
            await connection.execute(f"select pg_advisory_unlock({self._lead_key})")
            log.info("this hub cannot evaluate; another one that shares %s may notify", self._place)
            return now
        if not self._has_lock and (self._fit() or now - offered > PAUSE_SECONDS):
            self._has_lock = await connection.fetchval(f"select pg_try_advisory_lock({self._lead_key})")
            if self._has_lock:
                log.info("of the hubs that share %s, this one notifies", self._place)
                return now
        return offered

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)

    def _reason(self, error: BaseException) -> str:
        number = getattr(error, "errno", None)
        text = os.strerror(number) if number and number > 0 else getattr(error, "strerror", None) or str(error)
        text = without_credentials(text).partition("\n")[0] or type(error).__name__
        return f"PostgreSQL at {self._place}: {text}. Check --postgres-url and the server"


async def lock_appends(connection: asyncpg.Connection) -> None:
    """Let one hub at a time append until the transaction ends, so that entries are seen in the order of their `seq`."""
    await connection.execute(f"select pg_advisory_xact_lock({_key(APPEND_LOCK)})")


async def prepare(connection: asyncpg.Connection, first_rows: Callable[[], Sequence[Row]]) -> None:
    """Create the tables if there are none. Raises ValueError where they cannot be used."""
    if await connection.fetchval("show transaction_read_only") == "on":
        raise ValueError("it is read-only; connect to the primary server")
    if not await connection.fetchval(_EXISTS):
        async with connection.transaction():
            await lock_appends(connection)
            if not await connection.fetchval(_EXISTS):
                await _create(connection, first_rows())
    version = await connection.fetchval("select max(version) from foreshock_format")
    if version != FORMAT:
        raise ValueError(f"its tables have format {version}, and this version knows {FORMAT}; upgrade the hub")


async def _create(connection: asyncpg.Connection, rows: Sequence[Row]) -> None:
    await connection.execute(_TABLES)
    await connection.execute("insert into foreshock_format values ($1)", FORMAT)
    if rows:
        await connection.copy_records_to_table("foreshock_journal", records=rows, columns=COLUMNS, timeout=COPY_SECONDS)
        await connection.execute("select setval('foreshock_journal_seq_seq', $1)", rows[-1].seq)


def _first_line(path: Path) -> str:
    return path.read_text().partition("\n")[0]


def _key(lock: int, part: str = "") -> str:
    """The two numbers of a lock. part: made of letters, digits, and slashes."""
    schema = f"current_schema() || ' {part}'" if part else "current_schema()"
    return f"{lock:d}, hashtext({schema})"
