"""Clusters across a restart: the journal keeps them, so that no name changes while one of them is away."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Sequence

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.render.units import utc_timestamp

log = logging.getLogger(__name__)

KNOWN_SECONDS = 2 * 86_400.0
"""For so long after it was last seen a cluster is known. It covers a restart while one is away; a restart after that
forgets one that is gone for good: a renamed one, or that of a laptop."""
RENEW_SECONDS = 3600.0
"""Time after which a cluster that is seen is written again."""
BY = "hub"


class KnownClusters:
    """Records the clusters that are seen. One thread uses it.

    labels: labels that name the clusters; those of other labels are others.
    """

    def __init__(self, journal: EntryLog, labels: Sequence[str]) -> None:
        self._journal, self._labels = journal, list(labels)
        self._seen: dict[str, float] = {}
        """Unix seconds of the newest entry of each cluster."""
        self._problem = LogOnChange(log)

    def read(self, now: float) -> frozenset[str]:
        """The clusters that were seen of late. now: Unix seconds. An unreadable journal has none."""
        try:
            entries = self._journal.read("cluster")
        except SourceError as error:
            log.warning("clusters that are not sending data now are unknown: %s", error)
            return frozenset()
        own = [entry for entry in entries if entry.data.get("labels") == self._labels]
        self._seen = {str(entry.data["cluster"]): entry.at for entry in own if "cluster" in entry.data}
        known = {cluster: at for cluster, at in sorted(self._seen.items()) if now - at <= KNOWN_SECONDS}
        if len(known) > 1:
            found = ", ".join(f"{cluster} (last seen {utc_timestamp(at)})" for cluster, at in known.items())
            log.info("several clusters found, so names start with the cluster: %s", found)
        return frozenset(known)

    def record(self, seen: Iterable[str], now: float) -> None:
        """Write the clusters that are seen now (Unix seconds); a failure is tried again at the next call."""
        try:
            for cluster in sorted(seen):
                if now - self._seen.get(cluster, -math.inf) >= RENEW_SECONDS:
                    self._journal.append("cluster", now, BY, {"cluster": cluster, "labels": self._labels})
                    self._seen[cluster] = now
        except SourceError as error:
            self._problem.update(f"clusters may not be known after a restart: {error}")
        else:
            self._problem.update("")
