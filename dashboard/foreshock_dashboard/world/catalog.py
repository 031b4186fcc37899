"""The query catalog: every query behind a World, by key."""

from __future__ import annotations

from foreshock_dashboard.world import calls, cluster, gpus, hosts, model_servers, resources
from foreshock_dashboard.world.row import Catalog, RateWindows


def catalog(window: float, quick: float = 29.0) -> Catalog:
    """Queries behind a World, by key.

    Args:
        window: rate window in seconds: at least four scrapes, and not a multiple of the scrape interval.
        quick: rate window of readings that must react at once to a neighbor; see `quick_window`.
    """
    windows = RateWindows(window, quick)
    parts = (gpus, calls, model_servers, cluster, hosts, resources)
    return {key: row for part in parts for key, row in part.readings(windows).items()}
