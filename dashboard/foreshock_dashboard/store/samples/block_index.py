"""The series of segments, as far as queries have met them. Their numbers are apart from those in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import numpy as np

from foreshock_dashboard.model.query import Matcher, SourceError
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.store.blocks.block import Segment
from foreshock_dashboard.store.samples.format import SERIES
from foreshock_dashboard.store.samples.series import Ids, SeriesIndex, chosen, parse, text_prefix

MAX_SEALED = 500_000
"""Series of segments that are known at once; those of one metric in one query are never more."""

_STRETCH = "select id, text from read_parquet($file) where starts_with(text, $prefix) order by id"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One metric in one segment: `numbers[i]` is the number, in `SealedSeries`, of the segment's first + i."""

    segment: Segment
    first: int
    numbers: Ids


class SealedSeries:
    """What is known of segments; never added to once it is full: a new one takes its place.

    live: the series in memory. Most of those in segments are among them, and then nothing of them is there twice.
    """

    def __init__(self, live: SeriesIndex) -> None:
        self._live = live
        self._labels: list[Labels] = []
        self._numbers: dict[str, dict[str, int]] = {}
        """By metric and text."""
        self._known: dict[tuple[Segment, str], Stretch] = {}
        self._lock = threading.Lock()

    def select(self, metric: str, matchers: Sequence[Matcher]) -> tuple[Ids, list[Labels]]:
        """The metric's series that every matcher accepts, by ascending number."""
        with self._lock:
            found = [(number, self._labels[number]) for number in self._numbers.get(metric, {}).values()]
        return chosen(found, metric, matchers)

    def _intern(self, metric: str, texts: Sequence[str]) -> Ids | None:
        """The numbers of a metric's series; `None` where there is no room for them."""
        pairs: dict[tuple[str, str], tuple[str, str]] = {}
        with self._lock:
            numbers = self._numbers.setdefault(metric, {})
            for text in texts:
                if text in numbers:
                    continue
                if len(self._labels) >= MAX_SEALED:
                    return None
                kept, labels = self._live.known(text) or (text, parse(text, pairs)[1])
                numbers[kept] = len(self._labels)
                self._labels.append(labels)
            return np.array([numbers[text] for text in texts], dtype=np.int32)

    def stretch(self, cursor: duckdb.DuckDBPyConnection, segment: Segment, metric: str) -> Stretch | None:
        """A metric's stretch of a segment; `None` where there is no room for it.

        Raises:
            duckdb.Error: the segment cannot be read.
        """
        known = self._known.get((segment, metric))
        if known is not None:
            return known
        given = {"file": str(segment.folder / SERIES), "prefix": text_prefix(metric)}
        found = cursor.execute(_STRETCH, given).fetchall()
        numbers = self._intern(metric, [text for _, text in found])
        if numbers is None:
            return None
        made = Stretch(segment, found[0][0] if found else 0, numbers)
        self._known = {key: value for key, value in list(self._known.items()) if not key[0].gone}
        self._known[segment, metric] = made
        return made

    def stretches(
        self, cursor: duckdb.DuckDBPyConnection, segments: list[Segment], metric: str
    ) -> list[Stretch] | None:
        """The metric's stretches of segments; `None` where there is no room for them."""
        found = []
        for segment in segments:
            stretch = self.stretch(cursor, segment, metric)
            if stretch is None:
                return None
            found.append(stretch)
        return found


def too_many(metric: str) -> SourceError:
    """The refusal of a question that a whole index cannot answer."""
    return SourceError(f"store: {metric} has more than {MAX_SEALED} series in that range; narrow the range")
