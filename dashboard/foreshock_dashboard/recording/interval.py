"""How far apart a recording's samples are, where it does not say so itself."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.recording.reader import Recording

LOOKED_AT = 200
"""Series that are looked at, from all over the recording."""
ROWS = 200
"""Samples of each."""


def interval_of(recording: Recording, otherwise: float) -> float:
    """Seconds between two samples: what the recording says, else the median of its series' medians.

    `otherwise` where no series has two samples. Half of the series at least are scraped that often; jitter and lost
    scrapes do not move a median.

    Raises:
        RecordingError: it cannot be read.
    """
    if recording.meta.scrape_interval:
        return recording.meta.scrape_interval
    long = [stretch for stretch in recording.stretches if stretch.last - stretch.first > 1]
    medians = []
    for stretch in long[:: max(1, len(long) // LOOKED_AT)]:
        times, _ = recording.rows(stretch.first, min(stretch.last, stretch.first + ROWS))
        gaps = np.diff(np.sort(times))
        if (gaps > 0).any():
            medians.append(float(np.median(gaps[gaps > 0])))
    return float(np.median(medians)) / 1000 if medians else otherwise
