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
    """Implements `Messages` over a database. The hub that leads writes, and the others read what it wrote."""

    def __init__(self, database: SharedDatabase) -> None:
        self._database = database

    def read(self) -> list[OutboxMessage]:
        """As `Messages.read`."""
        return [OutboxMessage(*row) for row in self._database.run(lambda connection: connection.fetch(_READ))]

    def write(self, messages: Mapping[Key, OutboxMessage | None]) -> None:
        """As `Messages.write`."""
        ordered = sorted(messages)  # two hubs that write while the lead changes take locks in one order

        async def put(connection: asyncpg.Connection) -> None:
            await connection.executemany(_PUT, [tuple(found) for key in ordered if (found := messages[key])])
            await connection.executemany(_DELETE, [key for key in ordered if messages[key] is None])

        self._database.run(put)

    def close(self) -> None:
        """Nothing; the hub closes the database."""
