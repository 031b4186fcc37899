"""Who answers at the addresses that callers name, as far as calls with both halves have told."""

from __future__ import annotations

from foreshock_dashboard.model.halves import Client
from foreshock_dashboard.model.service import Service

MAX_ADDRESSES = 10_000
"""Addresses remembered, each by the caller that uses it; beyond it, the one known longest is forgotten."""

_Key = tuple[Service, Service | None, str]


class Peers:
    """Remembers, for each caller and address, the service that sends SERVER spans there, or that nobody does."""

    def __init__(self, limit: int = MAX_ADDRESSES) -> None:
        self._limit = limit
        self._answered: dict[_Key, tuple[Service, ...]] = {}

    def learn(self, client: Client, answerer: Service) -> None:
        """Take note that a call was answered by this service."""
        known = self._answered.get(_key(client), ())
        if answerer not in known and len(known) < 2:
            self._note(client, (*known, answerer))

    def silent(self, client: Client) -> None:
        """Take note that nobody told of a call."""
        if _key(client) not in self._answered:
            self._note(client, ())

    def only(self, client: Client) -> Service | None:
        """The one service that ever answered there; None if none or several did, or no address was named."""
        known = self._answered.get(_key(client), ())
        return known[0] if client.peer is not None and len(known) == 1 else None

    def expects(self, client: Client) -> bool:
        """Whether a late answer is likely: there was one before, or the caller gave up and nothing is known yet."""
        known = self._answered.get(_key(client))
        return client.failed if known is None else bool(known)

    def _note(self, client: Client, services: tuple[Service, ...]) -> None:
        key = _key(client)
        if key not in self._answered and len(self._answered) >= self._limit:
            del self._answered[next(iter(self._answered))]
        self._answered[key] = services


def _key(client: Client) -> _Key:
    return client.service, client.peer, client.port
