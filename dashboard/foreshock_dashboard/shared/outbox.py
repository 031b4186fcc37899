"""The messages of hubs that share a database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import asyncpg

from foreshock_dashboard.shared.database import SharedDatabase
from foreshock_dashboard.store.outbox import Key, OutboxMessage

_COLUMNS = ", ".join(OutboxMessage._fields)


class SharedMessages:
    """Implements `Messages` over a database. The hub that leads writes, and the others read what it wrote."""

    def __init__(self, database: SharedDatabase) -> None:
        self._database = database

    def read(self) -> list[OutboxMessage]:
        """As `Messages.read`. Without a database at the start there are none, so that it delays no page."""
        sql = f"select {_COLUMNS} from foreshock_outbox order by at"  # noqa: S608 - constants
        return [OutboxMessage(*row) for row in self._database.run(lambda connection: connection.fetch(sql))]

    def write(self, messages: Mapping[Key, OutboxMessage | None]) -> None:
        """As `Messages.write`."""

        async def put(connection: asyncpg.Connection) -> None:
            await connection.executemany(
                "delete from foreshock_outbox where channel = $1 and subject = $2", list(messages)
            )
            await connection.executemany(
                f"insert into foreshock_outbox ({_COLUMNS}) values ($1, $2, $3, $4, $5, $6, $7, $8)",  # noqa: S608 - constants
                _rows(messages.values()),
            )

        self._database.run(put)

    def close(self) -> None:
        """Nothing; the hub closes the database."""


def _rows(messages: Iterable[OutboxMessage | None]) -> list[tuple[object, ...]]:
    return [tuple(message) for message in messages if message]
