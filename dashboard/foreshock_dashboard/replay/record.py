"""Recording of a time range of a Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.world.catalogue import catalogue

PIECE_SECONDS = 600.0
"""Length of the pieces of the range, each one request per metric."""


class SampleSource(Protocol):
    """A source of samples as they were scraped."""

    name: str

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """Names of the metrics of a range; None if the source cannot tell."""

    def samples(self, metric: str, start: float, end: float) -> Iterator[tuple[Labels, Floats]]:
        """Labels and (Unix seconds, value) of each series in (start, end]."""


def record(
    source: SampleSource, start: float, end: float, out: Path, all_metrics: bool, progress: Callable[[str, float], None]
) -> int:
    """Write the samples of a range (Unix seconds) into a new recording, and return their number.

    all_metrics: every metric of the source, instead of those that the hub reads.

    Raises:
        SourceError: the source cannot answer.
        RecordingError: the range holds no sample, or the folder cannot be written.
    """
    known = frozenset(query.series_name for row in catalogue(59.0).values() for query in row.queries)
    names = source.names_between(start, end)
    if names is None and all_metrics:
        raise SourceError(f"{source.name}: the names of metrics are not available. Leave out --all-metrics.")
    wanted = sorted(known if names is None else names if all_metrics else names & known)
    count = 0
    with RecordingWriter(out, RecordingMeta()) as writer:
        begins = np.arange(start, end, PIECE_SECONDS).tolist()
        for number, begin in enumerate(begins):
            for metric in wanted:
                for labels, samples in source.samples(metric, begin, min(end, begin + PIECE_SECONDS)):
                    series = np.full(len(samples), writer.series(metric, labels), np.int32)
                    writer.add(series, np.rint(samples[:, 0] * 1000).astype(np.int64), samples[:, 1])
                    count += len(samples)
            progress(f"reading {source.name}", (number + 1) / len(begins))
        if not count:
            raise RecordingError(f"{source.name}: no samples in this time range. Choose another, or --all-metrics.")
        progress("sorting", 1.0)
    return count
