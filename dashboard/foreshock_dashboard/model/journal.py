"""Entries of the journal: what people and systems said and did, the only state that is not derived from data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, Protocol

Kind = Literal["incident", "change", "notification", "identity", "options", "cluster"]


class Entry(NamedTuple):
    """An entry of the journal.

    seq: increases with each entry, and is never used again. at: Unix seconds. by: a user or system; "" if unknown.
    """

    seq: int
    kind: str
    at: float
    by: str
    data: Mapping[str, Any]


class EntryLog(Protocol):
    """The journal, as those see it who read and append entries."""

    @property
    def newest(self) -> int:
        """The `seq` of the newest entry; 0 without one."""

    def append(self, kind: Kind, at: float, by: str, data: Mapping[str, Any]) -> int:
        """Append an entry and return its `seq`, once it is durable.

        Raises:
            ValueError: the entry is too large, or is not JSON.
            SourceError: it could not be written.
        """

    def read(self, kind: Kind | None = None, after: int = 0) -> list[Entry]:
        """Return the entries of a kind, or of all, with a `seq` above `after`, oldest first.

        Raises:
            SourceError: they could not be read.
        """
