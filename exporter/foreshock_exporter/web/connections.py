"""Limits of open connections: in total, and of each client."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from foreshock_exporter.model.family import Families, Sample
from foreshock_exporter.model.metrics import CONNECTIONS_DROPPED
from foreshock_exporter.web.connection import Connection

MAX_CONNECTIONS = 32
"""Concurrent connections, each with a thread."""
MAX_CLIENT_CONNECTIONS = MAX_CONNECTIONS // 2
"""Concurrent connections of one client, so that one alone cannot displace those of others."""
ABORT_TIMEOUT_SECONDS = 1.0
"""Longest wait for the thread of a connection that is closed for another."""
_CLIENT_PREFIX_BITS = 64
"""An IPv6 client has a whole subnet of addresses (RFC 6177)."""

Limit = Literal["total", "client"]


@dataclass(slots=True)
class _State:
    client: str
    answering: bool = False
    answered: bool = False


class Connections:
    """Open connections. Thread-safe.

    At a limit, a connection is closed for the new one: of those without a response so far, or else of all, the one that
    has been idle longest. Idle time begins when a connection is accepted, its request arrives, or its response is
    ready. A new connection is refused only if all others wait for their response.
    """

    def __init__(self, total: int = MAX_CONNECTIONS, per_client: int = MAX_CLIENT_CONNECTIONS) -> None:
        self._limits: dict[Limit, int] = {"client": per_client, "total": total}
        self._changed = threading.Condition()
        self._open: dict[Connection, _State] = {}
        """From the longest silence to the shortest."""
        self._dropped: dict[Limit, int] = {"client": 0, "total": 0}

    def __len__(self) -> int:
        return len(self._open)

    def admit(self, connection: Connection, address: str) -> bool:
        """Count a new connection, after closing another if a limit is reached. False if it must be refused."""
        client = client_of(address)
        with self._changed:
            for limit, most in self._limits.items():
                counted = [item for item, state in self._open.items() if limit == "total" or state.client == client]
                if len(counted) >= most:
                    self._dropped[limit] += 1
                    if not self._close_one(counted):
                        return False
            self._open[connection] = _State(client)
            return True

    def _close_one(self, connections: list[Connection]) -> bool:
        """Close one of the connections, and wait for its thread. False if all wait for their response."""
        idle = [item for item in connections if not self._open[item].answering]
        if not idle:
            return False
        closed = min(idle, key=lambda item: self._open[item].answered)
        closed.abort()
        return self._changed.wait_for(lambda: closed not in self._open, ABORT_TIMEOUT_SECONDS)

    def mark_active(self, connection: Connection) -> None:
        """End the silence of a connection."""
        with self._changed:
            self._open[connection] = self._open.pop(connection)

    @contextmanager
    def answering(self, connection: Connection) -> Iterator[None]:
        """Context in which the response of a connection is prepared; it is not closed for another meanwhile."""
        state = self._open[connection]
        state.answering = True
        try:
            yield
        finally:
            with self._changed:
                state.answering, state.answered = False, True
                self.mark_active(connection)

    def discard(self, connection: Connection) -> None:
        """Forget a closed connection."""
        with self._changed:
            self._open.pop(connection, None)
            self._changed.notify_all()

    def close(self, timeout: float) -> None:
        """Stop reading from all connections, and wait up to `timeout` seconds for their responses."""
        with self._changed:
            for connection in self._open:
                connection.stop_reading()
            self._changed.wait_for(lambda: not self._open, timeout)

    def families(self) -> Families:
        """Number of connections that were closed or refused, by limit."""
        return [(CONNECTIONS_DROPPED, [Sample((limit,), count) for limit, count in self._dropped.items()])]


def client_of(address: str) -> str:
    """What counts as one client: an IPv4 address, or the subnet of an IPv6 address."""
    parsed = ipaddress.ip_address(address)
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _CLIENT_PREFIX_BITS), strict=False))
