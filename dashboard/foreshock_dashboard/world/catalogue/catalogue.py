"""The query catalogue: every query behind a World, by key."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.world.catalogue import calls, cluster, gpus, hosts, model_servers
from foreshock_dashboard.world.catalogue.row import CatalogueRow, RateWindows


def catalogue(window: float, quick: float = 29.0) -> Mapping[str, CatalogueRow]:
    """Queries behind a World, by key.

    Args:
        window: rate window in seconds: at least four scrapes, and not a multiple of the scrape interval.
        quick: rate window of readings that must react at once to a neighbor; see `quick_window`.
    """
    windows = RateWindows(window, quick)
    return {
        **gpus.readings(windows),
        **calls.readings(windows),
        **model_servers.readings(windows),
        **cluster.readings(windows),
        **hosts.readings(windows),
    }


Readings = Mapping[str, Matrix]
"""Answer of every key of the catalogue, all on one grid."""


def service_at(labels: Mapping[str, str], prefix: str = "") -> Service:
    """Service of the labels `<prefix>service_name` and `<prefix>service_namespace`."""
    return Service(labels.get(f"{prefix}service_namespace", ""), labels.get(f"{prefix}service_name", ""))
