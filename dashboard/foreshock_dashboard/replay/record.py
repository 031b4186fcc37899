"""Recording of a time range of a Prometheus."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np

from foreshock_dashboard.model.query import LimitError, SourceError
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.meta import RecordingError, RecordingMeta
from foreshock_dashboard.recording.writer import RecordingWriter
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.row import RateWindows
from foreshock_dashboard.world.slow_burns import named

MIN_PIECE_SECONDS = 60.0
"""Shortest part of the range in one request. A metric is read in one request, or in halves where that is too much."""
REQUESTS = 4
"""Metrics that are requested at once."""

SeriesSamples = tuple[Labels, Floats]
"""Labels of a series, and (Unix seconds, value) of its samples, shape (samples, 2)."""


class SampleSource(Protocol):
    """A source of samples as they were scraped. Thread-safe."""

    name: str

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """Names of the metrics of a range; None if the source does not report them."""

    def samples(self, metric: str, start: float, end: float) -> Iterator[SeriesSamples]:
        """The samples of a metric in (start, end]. Raises LimitError if the answer is too large."""


def record(
    source: SampleSource,
    start: float,
    end: float,
    out: Path,
    *,
    known_only: bool,
    progress: Callable[[str, float], None],
) -> int:
    """Write the samples of a range (Unix seconds) into a new recording, and return their number.

    known_only: only metrics that the hub recognizes; `explain` reads any.

    Raises:
        SourceError: the source cannot answer.
        RecordingError: the range holds no sample, or the folder cannot be written.
    """
    wanted = _selected(source, start, end, known_only=known_only)
    count = 0
    with RecordingWriter(out, RecordingMeta()) as writer, ThreadPoolExecutor(REQUESTS) as requests:
        for number, (metric, found) in enumerate(_read_all(source, wanted, start, end, requests)):
            for labels, samples in found:
                series = np.full(len(samples), writer.series(metric, labels), np.int32)
                writer.add(series, np.rint(samples[:, 0] * 1000).astype(np.int64), samples[:, 1])
                count += len(samples)
            progress(f"reading {source.name}: {metric}", (number + 1) / len(wanted))
        if not count:
            raise RecordingError(f"{source.name}: no samples in this time range. Choose another one.")
        progress("sorting", 1.0)
    return count


def _selected(source: SampleSource, start: float, end: float, *, known_only: bool) -> Sequence[str]:
    """The metrics to record, sorted; only those that the hub recognizes if the source cannot list its metrics."""
    rows = {**catalog(59.0), **named.readings(RateWindows(59.0, 29.0))}
    known = frozenset(query.series_name for row in rows.values() for query in row.queries)
    names = source.names_between(start, end)
    return sorted(known if names is None else names & known if known_only else names)


def _read_all(
    source: SampleSource, metrics: Sequence[str], start: float, end: float, requests: ThreadPoolExecutor
) -> Iterator[tuple[str, list[SeriesSamples]]]:
    """The samples of each metric in order; a few requests run ahead, so that memory is bounded."""
    waiting: deque[tuple[str, Future[list[SeriesSamples]]]] = deque()
    try:
        for metric in metrics:
            waiting.append((metric, requests.submit(_read, source, metric, start, end)))
            if len(waiting) > REQUESTS:
                name, future = waiting.popleft()
                yield name, future.result()
        for name, future in waiting:
            yield name, future.result()
    finally:
        for _, future in waiting:
            future.cancel()


def _read(source: SampleSource, metric: str, start: float, end: float) -> list[SeriesSamples]:
    """The samples of a metric, in pieces as long as the source allows.

    Raises:
        SourceError: the source cannot answer, or not even for `MIN_PIECE_SECONDS`.
    """
    found: list[SeriesSamples] = []
    begin, length = start, end - start
    while begin < end:
        until = min(end, begin + length)
        try:
            found += source.samples(metric, begin, until)
        except LimitError as error:
            if length <= MIN_PIECE_SECONDS:
                raise SourceError(
                    f"{error} Reading {length:.0f} s of {metric} is too much: restrict the series with --match, or "
                    "raise the limit of the server."
                ) from error
            length = max(MIN_PIECE_SECONDS, length / 2)
            continue
        begin = until
    return found
