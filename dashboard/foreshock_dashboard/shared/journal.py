"""The journal of hubs that share a database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import asyncpg
import orjson

from foreshock_dashboard.model.journal import Entry, EntryLog, Kind
from foreshock_dashboard.shared.database import COLUMNS, Row, SharedDatabase, lock_appends
from foreshock_dashboard.store import JournalStats, StoreError
from foreshock_dashboard.store.journal import JournalLimits, entry_body

OWN: tuple[Kind, ...] = ("options",)
"""Kinds of entries that each hub keeps for itself."""
_INSERT = "insert into foreshock_journal (kind, at, author, data) values ($1, $2, $3, $4) returning seq"
_EXPIRE = """
delete from foreshock_journal where kind = $1 and (
    seq <= (select seq from foreshock_journal where kind = $1 order by seq desc offset $2 limit 1)
    or at < least($3, extract(epoch from now())) - $4
)
"""
"""Neither a wrong clock of the hub nor one of the server alone makes entries old."""
_READ = f"""
select {", ".join(COLUMNS)} from foreshock_journal where seq > $1 and ($2::text is null or kind = $2) order by seq
"""  # noqa: S608 - constants


class SharedJournal:
    """Implements `EntryLog` over a database. Thread-safe. own: the hub's journal, for entries of the kinds `OWN`.

    Of `JournalLimits`, those of number and age hold.
    """

    def __init__(self, database: SharedDatabase, own: EntryLog, limits: JournalLimits = JournalLimits()) -> None:  # noqa: B008 - frozen
        self._database, self._own, self._limits = database, own, limits
        self._newest, self._expired, self._error = 0, 0, ""

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
            seq = await connection.fetchval(_INSERT, kind, at, by, body)
            return seq, await connection.execute(_EXPIRE, kind, self._limits.rows, at, self._limits.seconds)

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
        rows = self._database.run(lambda connection: connection.fetch(_READ, after, kind))
        return [Entry(seq, kind_, at, by, orjson.loads(data)) for seq, kind_, at, by, data in rows]

    def stats(self) -> JournalStats:
        """Return the statistics, of entries as of the last count."""
        counts = self._database.counts
        rows = {kind: counts.get(kind, (0, 0))[0] for kind in get_args(Kind)}
        return JournalStats(True, rows, sum(size for _, size in counts.values()), self._expired, "", self._error)


def first_rows(journal: EntryLog) -> list[Row]:
    """The entries of a hub's own journal as the first ones of a shared one; none if it cannot be read."""
    try:
        entries = journal.read()
    except StoreError:
        return []
    return [
        Row(seq, kind, at, by.replace("\0", ""), orjson.dumps(dict(data)).decode())
        for seq, kind, at, by, data in entries
        if kind not in OWN
    ]
