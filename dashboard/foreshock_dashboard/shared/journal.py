"""The journal of hubs that share a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import asyncpg
import orjson

from foreshock_dashboard.model.journal import Entry, EntryLog, Kind
from foreshock_dashboard.shared.database import SharedDatabase, lock_appends
from foreshock_dashboard.store import JournalStats, StoreError
from foreshock_dashboard.store.journal import JournalLimits, entry_body

OWN: tuple[Kind, ...] = ("options",)
"""Kinds of entries that each hub keeps for itself."""
_COLUMNS = "seq, kind, at, author, data"


class SharedJournal:
    """Implements `EntryLog` over a database. Thread-safe.

    own: the hub's own journal, for entries of the kinds `OWN`. A database without entries takes over those in it.
    """

    def __init__(self, database: SharedDatabase, own: EntryLog, limits: JournalLimits = JournalLimits()) -> None:  # noqa: B008 - frozen
        self._database, self._own, self._limits = database, own, limits
        self._newest, self._expired, self._error = 0, 0, ""
        self._stats = JournalStats(True, dict.fromkeys(get_args(Kind), 0), 0, 0, "", "")
        if not database.problem:
            self._take_over(own.read())

    @property
    def newest(self) -> int:
        """As `EntryLog.newest`; entries of other hubs count after `POLL_SECONDS`."""
        return max(self._newest, self._database.newest)

    def append(self, kind: Kind, at: float, by: str, data: Mapping[str, Any]) -> int:
        """As `EntryLog.append`. Raises StoreError if nothing was kept."""
        if kind in OWN:
            return self._own.append(kind, at, by, data)
        body = entry_body(at, data).decode()

        async def insert(connection: asyncpg.Connection) -> tuple[int, str]:
            await lock_appends(connection)
            seq = await connection.fetchval(
                "insert into foreshock_journal (kind, at, author, data) values ($1, $2, $3, $4) returning seq",
                *(kind, at, by, body),
            )
            return seq, await connection.execute(
                "delete from foreshock_journal where kind = $1 and seq <= "
                "(select seq from foreshock_journal where kind = $1 order by seq desc offset $2 limit 1)",
                *(kind, self._limits.rows),
            )

        try:
            seq, deleted = self._database.run(insert)
        except StoreError as error:
            self._error = f"an entry was not kept: {error}"
            raise StoreError(self._error) from error
        self._error = ""
        self._expired += int(deleted.rpartition(" ")[2])
        self._newest = max(self._newest, seq)
        return seq

    def read(self, kind: Kind | None = None, after: int = 0) -> list[Entry]:
        """As `EntryLog.read`, without the kinds `OWN` unless `kind` is one of them. Raises StoreError."""
        if kind in OWN:
            return self._own.read(kind, after)
        condition = "seq > $1 and ($2::text is null or kind = $2)"
        sql = f"select {_COLUMNS} from foreshock_journal where {condition} order by seq"  # noqa: S608 - constants
        rows = self._database.run(lambda connection: connection.fetch(sql, after, kind))
        return [Entry(seq, kind_, at, by, orjson.loads(data)) for seq, kind_, at, by, data in rows]

    def stats(self) -> JournalStats:
        """Return the statistics; those of entries are the last ones known while the database cannot be reached."""
        rows, size = self._stats.rows, self._stats.bytes
        try:
            found = self._database.run(
                lambda connection: connection.fetch(
                    "select kind, count(*), sum(octet_length(data::text)) from foreshock_journal group by kind"
                )
            )
            rows = dict.fromkeys(rows, 0) | {kind: count for kind, count, _ in found}
            size = sum(size for _, _, size in found)
        except StoreError:
            pass  # the database says so itself
        self._stats = JournalStats(True, rows, size, self._expired, "", self._error or self._database.problem)
        return self._stats

    def _take_over(self, entries: list[Entry]) -> None:
        shared = [
            (seq, kind, at, by, orjson.dumps(dict(data)).decode())
            for seq, kind, at, by, data in entries
            if kind not in OWN
        ]

        async def copy(connection: asyncpg.Connection) -> None:
            await lock_appends(connection)
            if not await connection.fetchval("select exists (select from foreshock_journal)"):
                insert = f"insert into foreshock_journal ({_COLUMNS}) values ($1, $2, $3, $4, $5)"  # noqa: S608 - constants
                await connection.executemany(insert, shared)
                await connection.execute(
                    "select setval('foreshock_journal_seq_seq', (select max(seq) from foreshock_journal))"
                )

        if shared:
            self._database.run(copy)
