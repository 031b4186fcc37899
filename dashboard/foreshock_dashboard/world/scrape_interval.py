"""Scrape interval of a metrics source, estimated from its samples."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import Matrix, MetricSource, Query

RESOLUTIONS_SECONDS = ((1.0, 150.0), (10.0, 1500.0))
"""(resolution, lookback) of each attempt; the second finds long intervals."""


def scrape_interval(source: MetricSource, now: float, otherwise: float) -> float:
    """Seconds between two scrapes; `otherwise` where no target was scraped twice recently.

    Raises:
        SourceError: the source could not answer.
    """
    for step, back in RESOLUTIONS_SECONDS:
        window = step - 0.001  # a sample on a grid point lies in one window only, whichever end is open
        interval = median_interval(source.fetch(Query("up", reduce="last", window=window), now - back, now, step))
        if interval is not None:
            return interval
    return otherwise


def median_interval(samples: Matrix) -> float | None:
    """Median over series of the median distance of their samples, in seconds; None without two samples.

    `samples` has a value only where a sample arrived since the grid point before. Lost scrapes do not move a median.
    """
    arrivals = (samples.times[~np.isnan(row)] for row in samples.values)
    medians = [np.median(np.diff(times)) for times in arrivals if len(times) > 1]
    return float(np.median(medians)) if medians else None
