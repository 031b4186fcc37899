"""Who answers at the addresses that callers name, as far as calls with both halves have told."""

from __future__ import annotations

from foreshock_dashboard.ingest.service_graph.call_sides import Callee, Client
from foreshock_dashboard.model.service import Service

MAX_ADDRESSES = 10_000
"""Addresses remembered, each by the caller that uses it; beyond it, the one known longest is forgotten."""

_Key = tuple[Service, Callee]


class Peers:
    """Remembers, for each caller and address, the service that sends SERVER spans there, or that nobody does."""

    def __init__(self, limit: int = MAX_ADDRESSES) -> None:
        self._limit = limit
        self._answered: dict[_Key, tuple[Service, ...]] = {}

    def learn(self, client: Client, answerer: Service) -> None:
        """Take note that a call was answered by this service."""
        key = client.service, client.callee
        known = self._answered.get(key, ())
        if answerer not in known and len(known) < 2:
            self._note(key, (*known, answerer))

    def silent(self, client: Client) -> None:
        """Take note that nobody told of a call."""
        key = client.service, client.callee
        if key not in self._answered:
            self._note(key, ())

    def only(self, client: Client) -> Service | None:
        """The one service that ever answered there; None if none or several did, or no address was named."""
        known = self._answered.get((client.service, client.callee), ())
        return known[0] if len(known) == 1 and client.callee.service is not None else None

    def expects(self, client: Client) -> bool:
        """Whether a late answer is likely: there was one before, or the caller gave up and nothing is known yet."""
        known = self._answered.get((client.service, client.callee))
        return client.failed if known is None else bool(known)

    def _note(self, key: _Key, services: tuple[Service, ...]) -> None:
        if key not in self._answered and len(self._answered) >= self._limit:
            del self._answered[next(iter(self._answered))]
        self._answered[key] = services
