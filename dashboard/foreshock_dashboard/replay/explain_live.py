"""Root-cause ranking on a live Prometheus: what `explain` reads is recorded first, so that each metric is read once."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from foreshock_dashboard.model.explanation import Explanation
from foreshock_dashboard.model.query import MetricSource, NoDataError, SourceError
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.replay.explain import explain_recording
from foreshock_dashboard.replay.record import SampleSource, record
from foreshock_dashboard.replay.replay import DEFAULTS, ReplayTiming, sample_range
from foreshock_dashboard.world.observer import scrape_interval

POINTS_BEFORE, SECONDS_BEFORE, POINTS_AFTER, SECONDS_AFTER = 900, 4800.0, 10, 900.0
"""Points and seconds around the explained time, at least those of the baseline and of the analyzed time."""
MAX_SAMPLES = 30_000_000
"""Samples that are read for one question, about a minute and a gigabyte of transfer."""


class LiveSource(SampleSource, MetricSource, Protocol):
    """A metrics source that also gives samples as they were scraped."""

    def series_count(self, time: float) -> int | None:
        """Number of series at a time (Unix seconds); None if the source does not report it."""


def explain_live(
    source: LiveSource, service: str | None, at: float, now: float, progress: Callable[[str, float], None]
) -> Explanation:
    """Rank the root causes of a service's anomaly around `at`; without a service, of any service's. Unix seconds.

    Raises:
        NoDataError: the source lacks the service, that time, or a baseline before it.
        SourceError: the source cannot answer, or has too many series to read.
    """
    interval = scrape_interval(source, at, DEFAULTS.scrape_interval)
    start, end = explained_range(at, now, interval)
    _check_size(source, at, (end - start) / interval)
    with tempfile.TemporaryDirectory(prefix="foreshock-explain-") as folder:
        path = Path(folder) / "recording"
        record(source, start, end, path, known_only=False, progress=progress)
        progress("analyzing", 1.0)
        with Recording(path) as recording:
            _, newest = sample_range(recording, None)
            try:
                return explain_recording(recording, service, min(at, newest) if at - newest < 2 * interval else at)
            except NoDataError as error:
                raise NoDataError(str(error).replace(f"recording {recording.path}", source.name)) from None


def explained_range(at: float, now: float, interval: float) -> tuple[float, float]:
    """Start and end (Unix seconds) of what `explain` reads at a scrape interval in seconds."""
    step = ReplayTiming.of(interval).step
    return at - max(SECONDS_BEFORE, POINTS_BEFORE * step), min(now, at + max(SECONDS_AFTER, POINTS_AFTER * step))


def _check_size(source: LiveSource, at: float, samples_of_series: float) -> None:
    """Raise SourceError if there is too much to read; a source that does not report its size is read."""
    if (series := source.series_count(at)) and (samples := series * samples_of_series) > MAX_SAMPLES:
        raise SourceError(
            f"{source.name}: {series:,} series, about {samples / 1e6:.0f} million samples to read (limit "
            f"{MAX_SAMPLES // 10**6} million). Restrict them with --match, such as --match 'namespace=\"shop\"'."
        )
