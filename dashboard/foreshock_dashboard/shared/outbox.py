"""The messages of hubs that share a database."""

from __future__ import annotations

from collections.abc import Mapping

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


class SharedMessages:
    """Implements `Messages` over a database. The hub that leads writes, and the others read what it wrote.

    part: as of `SharedDatabase`. Its name precedes that of the channel, so that no other part sends the messages again.
    """

    def __init__(self, database: SharedDatabase, part: str = "") -> None:
        self._database, self._prefix = database, f"{part} " if part else ""

    def read(self) -> list[OutboxMessage]:
        """As `Messages.read`."""
        rows = [OutboxMessage(*row) for row in self._database.run(lambda connection: connection.fetch(_READ))]
        own = self._prefix
        return [row._replace(channel=row.channel[len(own) :]) for row in rows if row.channel.startswith(own)]

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
