"""Load of the last weeks, and uses of the last days, in steps of ten minutes, read piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.analysis.capacity.growth import GROWING_DAYS, UseKey, observed_uses
from foreshock_dashboard.analysis.capacity.observed import LoadKey, observed_loads
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS
from foreshock_dashboard.model.query import Matrix, MetricSource
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.world.builder import build_world
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import Observer, align_down
from foreshock_dashboard.world.row import Catalog, Readings

HISTORY_SECONDS = 28 * DAY_SECONDS
"""History that forecasts of load rest on."""
USE_SECONDS = (GROWING_DAYS + 1) * DAY_SECONDS
"""History that the growth of resources rests on. There are more of these than of loads: several for each GPU."""
WINDOW_SECONDS = FORECAST_STEP_SECONDS - 1.0
"""Rate window of a step, which is no multiple of a scrape interval."""
K = TypeVar("K")
JOINS = ("up", "host", "places", "gpu", "pool")
"""Keys of the catalog with what joins readings to services and pools."""
LOADS = (
    *JOINS,
    *("utilization", "busy", "served", "running", "waiting", "cache", "generated_tokens"),
    *("specified", "ready", "scaler_target", "quota"),
)
"""Keys of the catalog with loads."""
USES = (
    *JOINS,
    *("memory_used", "memory_total", "memory_free", "container_memory", "container_memory_limit"),
    *("disk_used", "disk_size", "open_files", "max_files", "host_memory_available", "host_memory_size"),
)
"""Keys of the catalog with uses of resources."""


class CapacityHistory:
    """Loads of the last weeks, and uses of resources of the last days. One thread reads.

    catalog: the catalog for a rate window in seconds.
    max_chunk_values: values read at once. seconds: length of the history.
    """

    def __init__(
        self,
        source: MetricSource,
        catalog: Callable[[float], Catalog],
        max_chunk_values: int = 1_000_000,
        seconds: float = HISTORY_SECONDS,
    ) -> None:
        whole = catalog(WINDOW_SECONDS)
        self._loads = _Series(source, whole, LOADS, observed_loads, seconds, max_chunk_values)
        self._uses = _Series(source, whole, USES, observed_uses, min(seconds, USE_SECONDS), max_chunk_values)

    @property
    def end(self) -> float:
        """Unix seconds up to which loads are known, a multiple of `FORECAST_STEP_SECONDS`."""
        return self._loads.end

    def read(self, now: float) -> Iterator[float]:
        """Read what is new up to `now`, in pieces, each of which yields the Unix seconds up to which it reads.

        Raises:
            SourceError: the source could not answer; earlier pieces stay.
        """
        yield from self._loads.read(now)
        yield from self._uses.read(now)

    def loads(self) -> Mapping[LoadKey, Floats]:
        """Load by subject and kind, shape (times,), single precision, ending at `end`; only those with a value."""
        return self._loads.rows

    def uses(self) -> Mapping[UseKey, Floats]:
        """Used share of the limit by resource, as `loads`, of `USE_SECONDS` at most."""
        return self._uses.rows


class _Series(Generic[K]):
    """Rows of a part of the catalog, read piece by piece. observed: the rows of a World by key."""

    def __init__(
        self,
        source: MetricSource,
        whole: Catalog,
        keys: Sequence[str],
        observed: Callable[[World], Mapping[K, Floats]],
        seconds: float,
        max_chunk_values: int,
    ) -> None:
        self._others, self._observed = tuple(key for key in whole if key not in keys), observed
        self._observer = Observer(
            source,
            {key: whole[key] for key in keys},
            FORECAST_STEP_SECONDS,
            self._completed,
            seconds,
            begin=lambda end: end - seconds,
            max_chunk_values=max_chunk_values,
        )
        self._points = round(seconds / FORECAST_STEP_SECONDS)
        self.rows: Mapping[K, Floats] = {}  # single precision: 4,032 values each for four weeks
        self.end = -np.inf

    def read(self, now: float) -> Iterator[float]:
        """As `CapacityHistory.read`."""
        for readings in self._observer.pieces(now):
            world = build_world(readings, FORECAST_STEP_SECONDS)
            end = align_down(float(world.times[-1]), FORECAST_STEP_SECONDS)
            shift = self._points if self.end == -np.inf else round((end - self.end) / FORECAST_STEP_SECONDS)
            self.rows = _appended(self.rows, self._observed(world), shift, self._points)
            self.end = end
            yield self.end

    def _completed(self, readings: Readings) -> Readings:
        """With empty answers for the rest of the catalog, and quantiles in place of buckets."""
        empty = Matrix.empty(readings["up"].times)
        return QuantileReducer()({**dict.fromkeys(self._others, empty), **readings})


def _appended(known: Mapping[K, Floats], new: Mapping[K, Floats], shift: int, points: int) -> Mapping[K, Floats]:
    """Rows of `points` steps, moved by `shift` steps, with the new values at the end; only those with a value."""
    rows: dict[K, Floats] = {}
    for key in {*known, *new}:
        row: Floats = np.full(points, np.nan).astype(np.float32)
        if key in known and shift < points:
            row[: points - shift] = known[key][shift:]
        if key in new:
            row[max(0, points - len(new[key])) :] = new[key][-points:]
        if np.isfinite(row).any():
            rows[key] = row
    return rows
