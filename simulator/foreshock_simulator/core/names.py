"""Names of simulated services."""

from __future__ import annotations

from typing import NamedTuple


class ServiceName(NamedTuple):
    """A service by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"
