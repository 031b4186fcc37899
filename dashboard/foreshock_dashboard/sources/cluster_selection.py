"""Conditions on labels that select the series of some clusters in a Prometheus."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from itertools import product
from typing import NamedTuple

from foreshock_dashboard.model.query import Matcher

Conditions = tuple[tuple[Matcher, ...], ...]
"""Alternatives, each of conditions that must all hold."""


class Selection(NamedTuple):
    """Series of these clusters, and calls to and from them. known: all clusters. labels: as of `ClusterSource`."""

    labels: Sequence[str]
    clusters: Collection[str]
    known: Collection[str]

    def conditions(self, sides: Sequence[str] = ()) -> Conditions:
        """The conditions; of a call where there are sides, such as ("client", "server").

        The series of a call names the cluster of a side, or else that side is in the cluster of the series. The
        alternatives exclude each other, so that a series costs the server no more than without them.
        """
        of_series = self._named("", self.clusters)
        if not sides:
            return of_series
        own = [cluster for cluster in self.clusters if cluster]
        others = [cluster for cluster in self.known if cluster not in self.clusters]
        one, other = (f"{side}_" for side in sides)
        return (
            *self._named(one, own),
            *_both(self._unnamed(one, own), self._named(other, own)),
            *_both(self._unnamed(one, self.known), self._unnamed(other, own), of_series),
            *_both(self._named(one, others), self._unnamed(other, self.known), of_series),
        )

    def _named(self, prefix: str, clusters: Collection[str]) -> Conditions:
        """One of the clusters is the first value of the labels; "" is none."""
        found = []
        for number, label in enumerate(self.labels):
            is_last = number == len(self.labels) - 1
            values = [cluster for cluster in clusters if cluster or is_last]
            before = [Matcher(prefix + earlier, "=", "") for earlier in self.labels[:number]]
            if values:
                found.append((*before, Matcher(prefix + label, "=~", _any(values))))
        return tuple(found)

    def _unnamed(self, prefix: str, clusters: Collection[str]) -> Conditions:
        """No label has one of the clusters."""
        if not clusters:
            return ((),)
        return (tuple(Matcher(prefix + label, "!~", _any(clusters)) for label in self.labels),)


def _both(*parts: Conditions) -> Conditions:
    return tuple(tuple(each for part in chosen for each in part) for chosen in product(*parts))


def _any(clusters: Iterable[str]) -> str:
    """A regular expression of the names. A value with several slashes in a row is read as with one."""
    return "|".join(re.escape(cluster).replace("/", "/+") for cluster in sorted(clusters))
