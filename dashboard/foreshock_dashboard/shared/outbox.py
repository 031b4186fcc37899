"""The messages of hubs that share a database."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import asyncpg

from foreshock_dashboard.shared.database import SharedDatabase
from foreshock_dashboard.store.outbox import Key, OutboxMessage

_FIELDS = ", ".join(OutboxMessage._fields)
_READ = f"select {_FIELDS} from foreshock_outbox order by at"  # noqa: S608 - constants
_DELETE = "delete from foreshock_outbox where channel = $1 and subject = $2"
_PUT = f"""
insert into foreshock_outbox ({_FIELDS}) values ($1, $2, $3, $4, $5, $6, $7, $8)
on conflict (channel, subject) do update
set ({_FIELDS}) = ({", ".join(f"excluded.{name}" for name in OutboxMessage._fields)})
"""  # noqa: S608 - constants
_MOVE = """
update foreshock_outbox set channel = $3 where channel = $1 and subject = $2
and not exists (select from foreshock_outbox where channel = $3 and subject = $2)
"""
_PART = re.compile(r"shard \d+/\d+ ")
"""The part of a channel in the database."""


class SharedMessages:
    """Implements `Messages` over a database. The hub that leads writes, and the others read what it wrote.

    part: as of `SharedDatabase`. Its name precedes that of the channel, so that no other part sends the messages again.
    is_own: whether a message belongs to the part. Those of other parts do after the number of shards, or the shard of a
    cluster, has changed: otherwise, open incidents would be notified again, and their end would not.
    """

    def __init__(
        self, database: SharedDatabase, part: str = "", is_own: Callable[[OutboxMessage], bool] = lambda _: False
    ) -> None:
        self._database, self._prefix, self._is_own = database, f"{part} " if part else "", is_own

    def read(self) -> list[OutboxMessage]:
        """As `Messages.read`. Own messages of other parts become those of this one."""
        return self._database.run(self._read)

    async def _read(self, connection: asyncpg.Connection) -> list[OutboxMessage]:
        rows = [OutboxMessage(*row) for row in await connection.fetch(_READ)]
        found: dict[Key, OutboxMessage] = {}
        moved: list[tuple[str, str, str]] = []
        for row in reversed(rows):  # the newest of several that move to one channel
            prefix = _prefix(row.channel)
            message = row._replace(channel=row.channel.removeprefix(prefix))
            if prefix == self._prefix:
                found[message.key] = message
            elif self._is_own(message):
                moved.append((row.channel, row.subject, self._prefix + message.channel))
                found.setdefault(message.key, message)
        if moved:
            await connection.executemany(_MOVE, moved)
            await connection.executemany(_DELETE, [key for *key, _ in moved])
        return sorted(found.values(), key=lambda message: message.at)

    def write(self, messages: Mapping[Key, OutboxMessage | None]) -> None:
        """As `Messages.write`."""
        own = self._prefix
        ordered = sorted(messages)  # two hubs that write while the lead changes take locks in one order

        async def put(connection: asyncpg.Connection) -> None:
            kept = [found._replace(channel=own + found.channel) for key in ordered if (found := messages[key])]
            await connection.executemany(_PUT, kept)
            deleted = [(own + channel, subject) for channel, subject in ordered if messages[channel, subject] is None]
            await connection.executemany(_DELETE, deleted)

        self._database.run(put)

    def close(self) -> None:
        """Nothing; the hub closes the database."""


def _prefix(channel: str) -> str:
    """The part with which the name of a channel begins in the database; "" without one."""
    found = _PART.match(channel)
    return found[0] if found else ""
