"""The service: the key that joins GPUs, spans, and metrics."""

from __future__ import annotations

from typing import NamedTuple


class Service(NamedTuple):
    """A service is the pair (namespace, name); the namespace may be empty. Sorts by namespace, then name."""

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Service:
        """Read `name` or `namespace/name`, the form used in JSON and URLs.

        Raises:
            ValueError: the name is empty.
        """
        namespace, slash, name = text.partition("/")
        if not slash:
            namespace, name = "", namespace
        if not name:
            raise ValueError(f"service {text!r} has no name; write 'name' or 'namespace/name'")
        return cls(namespace, name)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}" if self.namespace else self.name


class Ownership(NamedTuple):
    """Who is responsible for a service, its tier, and links by name; "" and () if unknown."""

    owner: str = ""
    tier: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def or_else(self, other: Ownership) -> Ownership:
        """Each field of `other` where this one has none."""
        return Ownership(self.owner or other.owner, self.tier or other.tier, self.links or other.links)
