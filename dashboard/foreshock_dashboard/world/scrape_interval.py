"""How often a metrics source's targets are scraped, as its samples show."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.query import Matrix, MetricSource, Query

LOOKS = ((1.0, 150.0), (10.0, 1500.0))
"""Resolution of a look at when samples came, and how far back it goes, in seconds: the second for rarer ones."""


def scrape_interval(source: MetricSource, now: float, otherwise: float) -> float:
    """Seconds between two scrapes; `otherwise` where no target was scraped twice of late.

    Raises:
        SourceError: the source could not answer.
    """
    for step, back in LOOKS:
        window = step - 0.001  # a sample on a grid point is in one window only, whichever end the source leaves open
        shown = interval_shown(source.fetch(Query("up", reduce="last", window=window), now - back, now, step))
        if shown is not None:
            return shown
    return otherwise


def interval_shown(found: Matrix) -> float | None:
    """Median over the series of the median distance of their samples, in seconds; None where none has two.

    `found` has a value only where a sample came since the grid point before. Lost scrapes do not move a median.
    """
    samples = (found.times[~np.isnan(row)] for row in found.values)
    medians = [np.median(np.diff(times)) for times in samples if len(times) > 1]
    return float(np.median(medians)) if medians else None
