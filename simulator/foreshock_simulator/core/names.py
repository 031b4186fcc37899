"""Names of simulated services, and identifiers that follow from names."""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class ServiceName(NamedTuple):
    """A service by namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def uuid_digits(name: str) -> str:
    """Digits of a UUID derived from a name."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return "-".join((digest[:8], digest[8:12], digest[12:16], digest[16:20], digest[20:32]))
