"""What a hub keeps of people and hubs: in files, or in a database that it shares with others."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.shared.state import SharedState
from foreshock_dashboard.store import Journal, JournalStats
from foreshock_dashboard.store.outbox import Messages, OutboxMessage
from foreshock_dashboard.store.outbox_file import OutboxFile

log = logging.getLogger(__name__)


class KeptLog(EntryLog, Protocol):
    """A journal that has statistics."""

    def stats(self) -> JournalStats:
        """Return the statistics."""


class DurableState(NamedTuple):
    """messages: opens those of the outbox. shared: the state of the database; None without one."""

    journal: KeptLog
    messages: Callable[[], Messages]
    shared: Callable[[], SharedState | None]
    close: Callable[[], None]

    def leads(self) -> bool:
        """Whether this hub notifies, and writes what each of the hubs that share a journal finds."""
        shared = self.shared()
        return shared is None or shared.leads


def durable_state(
    postgres_url: str,
    password_file: Path | None,
    journal: Journal,
    folder: Path,
    fit: Callable[[], bool],
    part: str = "",
    is_own: Callable[[OutboxMessage], bool] = lambda _: False,
) -> DurableState:
    """The state in a database; with "", in the journal, and an outbox in the folder.

    password_file, fit, part: as of `SharedDatabase`. is_own: as of `SharedMessages`.

    Raises:
        ModuleNotFoundError: the client of PostgreSQL is not installed.
    """
    if not postgres_url:
        return DurableState(journal, lambda: OutboxFile(folder), lambda: None, lambda: None)
    from foreshock_dashboard.shared.database import SharedDatabase
    from foreshock_dashboard.shared.journal import SharedJournal, first_rows
    from foreshock_dashboard.shared.outbox import SharedMessages

    parts = urlsplit(postgres_url)
    if "sslmode=" not in parts.query and not is_loopback(parts.hostname or ""):
        log.warning("--postgres-url: the certificate is not checked; add ?sslmode=verify-full&sslrootcert=FILE")
    database = SharedDatabase(postgres_url, password_file, lambda: first_rows(journal), fit, part)
    return DurableState(
        SharedJournal(database, journal),
        lambda: SharedMessages(database, part, is_own),
        database.state,
        database.close,
    )
