"""Scrape interval of a metrics source, estimated from its samples."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import MetricSource, Query
from foreshock_dashboard.stats.intervals import median_interval

RESOLUTIONS_SECONDS = ((1.0, 150.0), (10.0, 1500.0))
"""(resolution, lookback) of each attempt; the second finds long intervals."""


def scrape_interval(source: MetricSource, now: float, otherwise: float) -> float:
    """Seconds between two scrapes; `otherwise` where no target was scraped twice recently.

    Raises:
        SourceError: the source could not answer.
    """
    for step, back in RESOLUTIONS_SECONDS:
        window = step - 0.001  # a sample on a grid point lies in one window only, whichever end is open
        arrivals = source.fetch(Query("up", reduce="last", window=window), now - back, now, step)
        interval = median_interval(arrivals.times[~np.isnan(row)] for row in arrivals.values)
        if interval is not None:
            return interval
    return otherwise
