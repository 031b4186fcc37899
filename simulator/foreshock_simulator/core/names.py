"""Names of simulated things."""

from __future__ import annotations

from typing import NamedTuple


class ServiceName(NamedTuple):
    """A service: the pair of namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
