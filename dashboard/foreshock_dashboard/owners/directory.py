"""The owners of all services, as a running hub knows them."""

from __future__ import annotations

import logging
from pathlib import Path

from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.owners.metric_labels import METRICS, read_labels
from foreshock_dashboard.owners.ownership import UNKNOWN, Ownerships, ownership_of
from foreshock_dashboard.owners.services_file import services_file

log = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0


class OwnerDirectory:
    """Owners from a file, then from labels of metrics. Thread-safe.

    Raises:
        FileError: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = services_file(path) if path else None
        self._by_metric: dict[str, Ownerships] = {}
        self._labels: Ownerships = {}
        self._failing: set[str] = set()

    def refresh(self, source: MetricSource, time: float) -> None:
        """Read the labels. A metric that cannot be read leaves its known ones, and is logged once."""
        for metric in METRICS:
            try:
                self._by_metric[metric] = read_labels(source, metric, time)
                self._failing.discard(metric)
            except SourceError as error:
                if metric not in self._failing:
                    log.warning("owners of %s cannot be read; those read before stay: %s", metric, error)
                self._failing.add(metric)
        known: dict[Service, Ownership] = {}
        for metric in METRICS:
            for service, found in self._by_metric.get(metric, {}).items():
                known[service] = known.get(service, UNKNOWN).or_else(found)
        self._labels = known

    def of(self, service: Service) -> Ownership:
        """The ownership of a service."""
        listed = self._file.current() if self._file else {}
        return ownership_of(service, listed).or_else(ownership_of(service, self._labels))
