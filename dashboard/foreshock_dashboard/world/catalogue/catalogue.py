"""What is read from a metrics source each tick: one table of queries, and the matrices that came back."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.world.catalogue import calls, cluster, gpus, hosts, model_servers
from foreshock_dashboard.world.catalogue.row import Reading, Windows


def catalogue(window: float, quick: float = 29.0) -> Mapping[str, Reading]:
    """The queries behind a World, keyed by what they tell.

    `window` in seconds is how far rates look back: four scrapes or more, off multiples of the scrape interval; `quick`
    is how far those look back that show a neighbour's step at once: see `quick_window`.
    """
    windows = Windows(window, quick)
    return {
        **gpus.readings(windows),
        **calls.readings(windows),
        **model_servers.readings(windows),
        **cluster.readings(windows),
        **hosts.readings(windows),
    }


Readings = Mapping[str, Matrix]
"""An answer for every key of the catalogue, all on the same grid."""


def service_at(labels: Mapping[str, str], prefix: str = "") -> Service:
    """The service named by `<prefix>service_name` and `<prefix>service_namespace`."""
    return Service(labels.get(f"{prefix}service_namespace", ""), labels.get(f"{prefix}service_name", ""))
