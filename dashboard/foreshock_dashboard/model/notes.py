"""What spans that are no calls told of themselves: it matters once a span below one of them comes."""

from __future__ import annotations

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

    def add(self, span: Id, service: Service, parent: Id, now: float, *, attempt: bool = False) -> None:
        """Take note of a SERVER span, or of an INTERNAL one, which has a parent; it is its own where it is a root."""
        newer = self._newer
        if now >= self._until or len(newer.services) >= self._limit:
            self._newer, self._older, self._until = _Half(), newer, now + self._ttl
            newer = self._newer
        newer.services[span] = service
        if parent:
            newer.parents[span] = parent
            if attempt:
                newer.attempts.add(span)

    def of(self, span: Id) -> tuple[Service, Id, bool] | None:
        """Whose SERVER or INTERNAL span it is, the parent of an INTERNAL one, and whether it is an attempt."""
        for half in (self._newer, self._older):
            service = half.services.get(span)
            if service is not None:
                return service, half.parents.get(span, b""), span in half.attempts
        return None
