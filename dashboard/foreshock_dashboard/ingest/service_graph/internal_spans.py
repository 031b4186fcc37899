"""What spans that are no calls told of themselves: it matters once a span below one of them comes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Id


class _Half:
    """Whose SERVER or INTERNAL span each is; of INTERNAL ones the parent, or themselves, and which are attempts.

    There are many, so nothing in it is an object that Python's search for garbage would look at.
    """

    __slots__ = ("attempts", "parents", "services")

    def __init__(self) -> None:
        self.services: dict[Id, Service] = {}
        self.parents: dict[Id, Id] = {}
        self.attempts: set[Id] = set()


class Notes:
    """Keeps each note for `ttl` seconds at least, unless more than `limit` come in that time, and for twice as long at
    most: in two halves, of which the older one is forgotten as a whole."""

    def __init__(self, ttl: float, limit: int) -> None:
        self._ttl, self._limit = ttl, limit
        self._newer, self._older = _Half(), _Half()
        self._until = -inf

    def add_called(self, spans: Sequence[Id], services: Iterable[Service], now: float) -> None:
        """Take note of SERVER spans. Many at once, for it takes a third of the time of one by one."""
        self._room(now).services.update(zip(spans, services, strict=True))

    def add_internal(
        self,
        spans: Sequence[Id],
        services: Iterable[Service],
        parents: Iterable[Id],
        attempts: Iterable[Id],
        now: float,
    ) -> None:
        """Take note of INTERNAL spans, of which some are attempts; one that is a root is its own parent."""
        half = self._room(now)
        half.services.update(zip(spans, services, strict=True))
        half.parents.update(zip(spans, parents, strict=True))
        half.attempts.update(attempts)

    def _room(self, now: float) -> _Half:
        """Where notes are added."""
        if now >= self._until or len(self._newer.services) >= self._limit:
            self._newer, self._older, self._until = _Half(), self._newer, now + self._ttl
        return self._newer

    def of(self, span: Id) -> tuple[Service, Id, bool] | None:
        """Whose SERVER or INTERNAL span it is, the parent of an INTERNAL one, and whether it is an attempt."""
        for half in (self._newer, self._older):
            service = half.services.get(span)
            if service is not None:
                return service, half.parents.get(span, b""), span in half.attempts
        return None
