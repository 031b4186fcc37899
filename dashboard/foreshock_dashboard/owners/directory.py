"""The owners of all services, as a running hub knows them."""

from __future__ import annotations

import logging
from pathlib import Path

from foreshock_dashboard.model.query import MetricSource, SourceError
from foreshock_dashboard.model.service import Ownership, Service
from foreshock_dashboard.owners.metric_labels import read_labels
from foreshock_dashboard.owners.ownership import Ownerships, ownership_of
from foreshock_dashboard.owners.services_file import services_file

REFRESH_SECONDS = 60.0


class OwnerDirectory:
    """Owners from a file, then from labels of metrics. Thread-safe.

    Raises:
        FileError: the file cannot be used.
    """

    def __init__(self, path: Path | None) -> None:
        self._file = services_file(path) if path else None
        self._labels: Ownerships = {}

    def refresh(self, source: MetricSource, time: float) -> None:
        """Read the labels. A source that cannot answer leaves the known ones."""
        try:
            self._labels = read_labels(source, time)
        except SourceError as error:
            logging.getLogger(__name__).debug("owners cannot be read: %s", error)

    def of(self, service: Service) -> Ownership:
        """The ownership of a service."""
        listed = self._file.current() if self._file else {}
        return ownership_of(service, listed).or_else(ownership_of(service, self._labels))
