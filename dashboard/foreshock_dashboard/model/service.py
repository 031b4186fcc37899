"""The service: the key that joins GPUs, spans, and metrics."""

from __future__ import annotations

from typing import NamedTuple

CLUSTER_MARK = "//"
"""Between a cluster and a name in it. Names of models have single slashes, as do the names of EKS clusters."""

CLUSTER_LABEL = "__cluster__"
"""Label with the cluster of a series, in answers of a source with several clusters. Names in other labels carry it."""


def qualified(cluster: str, name: str) -> str:
    """The name of a namespace, host, or pool, unique among clusters: `cluster//name`, or `name` without a cluster."""
    return f"{cluster}{CLUSTER_MARK}{name}" if cluster else name


def split_cluster(name: str) -> tuple[str, str]:
    """The cluster of a qualified name, "" without one, and the name in it."""
    cluster, mark, local = name.partition(CLUSTER_MARK)
    return (cluster, local) if mark and cluster else ("", name)


class Service(NamedTuple):
    """A service is the pair (namespace, name); the namespace may be empty. Sorts by namespace, then name.

    Where there are several clusters, the namespace is that in its cluster: `cluster//namespace`.
    """

    namespace: str
    name: str

    @classmethod
    def parse(cls, text: str) -> Service:
        """Read `name`, `namespace/name`, or either after `cluster//`, the forms used in JSON and URLs.

        Raises:
            ValueError: the name is empty.
        """
        cluster, local = split_cluster(text)
        namespace, slash, name = local.partition("/")
        if not slash:
            namespace, name = "", namespace
        if not name:
            raise ValueError(f"service {text!r} has no name; write 'name' or 'namespace/name'")
        return cls(qualified(cluster, namespace), name)

    def __str__(self) -> str:
        namespace, slash = self.namespace, "" if self.namespace.endswith(CLUSTER_MARK) else "/"
        return f"{namespace}{slash}{self.name}" if namespace else self.name

    @property
    def cluster(self) -> str:
        """The cluster; "" where there is only one."""
        return split_cluster(self.namespace)[0]

    @property
    def local(self) -> Service:
        """The service as its own cluster names it."""
        return Service(split_cluster(self.namespace)[1], self.name)

    def in_cluster(self, cluster: str) -> Service:
        """The service in a cluster; itself where it has one already, and for ""."""
        return self if self.cluster or not cluster else self._replace(namespace=qualified(cluster, self.namespace))

    def means(self, other: Service) -> bool:
        """Whether a name that a person gave is of another service: without a cluster, of that in any."""
        return self in (other, other.local)


class Ownership(NamedTuple):
    """Who is responsible for a service, its tier, and links by name; "" and () if unknown."""

    owner: str = ""
    tier: str = ""
    links: tuple[tuple[str, str], ...] = ()

    def or_else(self, other: Ownership) -> Ownership:
        """Each field of `other` where this one has none."""
        return Ownership(self.owner or other.owner, self.tier or other.tier, self.links or other.links)
