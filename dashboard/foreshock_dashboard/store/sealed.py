"""The series of segments, as far as queries have met them. Their numbers are apart from those in memory."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np

from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.store.pieces import Segment
from foreshock_dashboard.store.sample_format import SERIES
from foreshock_dashboard.store.series import Ids, SeriesIndex, text_prefix

MAX_SEALED = 500_000
"""Series of segments that are known at once; those of one metric in one query are never more."""

_STRETCH = "select id, text from read_parquet($file) where starts_with(text, $prefix) order by id"


@dataclass(frozen=True, slots=True)
class Stretch:
    """One metric in one segment: `numbers[i]` is the number, in `SealedSeries.index`, of the segment's first + i."""

    segment: Segment
    first: int
    numbers: Ids


class SealedSeries:
    """What is known of segments; never added to once it is full: a new one takes its place.

    live: the series in memory, which most of those in segments are as well.
    """

    def __init__(self, live: SeriesIndex) -> None:
        self.index = SeriesIndex(MAX_SEALED, live)
        self._known: dict[tuple[Segment, str], Stretch] = {}

    def stretch(self, cursor: duckdb.DuckDBPyConnection, segment: Segment, metric: str) -> Stretch | None:
        """A metric's stretch of a segment; `None` where the index is full.

        Raises:
            duckdb.Error: the segment cannot be read.
        """
        known = self._known.get((segment, metric))
        if known is not None:
            return known
        given = {"file": str(segment.folder / SERIES), "prefix": text_prefix(metric)}
        found = cursor.execute(_STRETCH, given).fetchall()
        numbers = np.array(self.index.intern_texts(text for _, text in found), dtype=np.int32)
        if (numbers < 0).any():
            return None
        made = Stretch(segment, found[0][0] if found else 0, numbers)
        self._known = {key: value for key, value in list(self._known.items()) if not key[0].gone}
        self._known[segment, metric] = made
        return made

    def stretches(
        self, cursor: duckdb.DuckDBPyConnection, segments: list[Segment], metric: str
    ) -> list[Stretch] | None:
        """The metric's stretches of segments; `None` where the index is full."""
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
