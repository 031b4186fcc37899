"""Stores in temporary folders, and small test data."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from tests.spans import T0, MakeSpan, span

from foreshock_dashboard.common.clock import Now
from foreshock_dashboard.model.query import Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.span import TRACE_KEYS
from foreshock_dashboard.store import Retention, Store, StoreLimits
from foreshock_dashboard.store.blocks.disk import Disk

__all__ = ["T0", "MakeSpan", "span"]

CUT_ALWAYS = StoreLimits(block_bytes=1, duckdb_threads=1)
"""A block is cut at each call of `maintain`."""
Scrape = Callable[..., SampleBatch]
Values = Callable[..., dict[int, list[float]]]


class FullDisk(Disk):
    """A disk that refuses writes while `full`."""

    full = False

    def write(self, path: Path, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().write(path, data)


@dataclass
class Bench:
    """Opens stores in one folder, with a clock that the test sets."""

    path: Path
    time: float = float(T0)
    opened: list[Store] = field(default_factory=list)

    def open(
        self,
        limits: StoreLimits = CUT_ALWAYS,
        retention: Retention = Retention(),  # noqa: B008 - frozen
        disk: Disk | None = None,
        folder: Path | None = None,
        trace_keys: tuple[str, ...] = TRACE_KEYS,
        monotonic: Now | None = None,
    ) -> Store:
        """Open a store; by default it cuts a block at each call of `maintain`."""
        store = Store.open(
            folder or self.path,
            now=lambda: self.time,
            monotonic=monotonic or (lambda: self.time),
            limits=limits,
            retention=retention,
            disk=disk,
            trace_keys=trace_keys,
        )
        self.opened.append(store)
        return store


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A folder for a store, in memory if there is room: syncs cost more than all else on a busy disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    roomy = memory.is_dir() and shutil.disk_usage(memory).free > 1 << 30
    with tempfile.TemporaryDirectory(dir=memory if roomy else tmp_path) as folder:
        made = Bench(Path(folder) / "store")
        yield made
        for store in made.opened:
            store.close()


@pytest.fixture
def scrape() -> Scrape:
    """Makes the n-th scrape of one target: three series whose value is n."""

    def make(n: int, value: float | None = None, metric: str = "m", seconds: float = 10.0) -> SampleBatch:
        sample_value = float(n) if value is None else value
        samples = tuple(Sample(metric, labels_of({"pod": pod}), sample_value) for pod in "abc")
        return SampleBatch(T0 + n * seconds, "target", samples)

    return make


@pytest.fixture
def values() -> Values:
    """Reads the stored values of the first `count` scrapes, by number of the scrape."""

    def read(store: Store, count: int, metric: str = "m") -> dict[int, list[float]]:
        stored: dict[int, list[float]] = {}
        for first in range(0, count, 10_000):
            last = min(count, first + 10_000) - 1
            matrix = store.fetch(Query(metric, window=5), T0 + 10 * first, T0 + 10 * last, 10)
            for n, column in enumerate(matrix.values.T, first):
                if not np.isnan(column).all():
                    stored[n] = column[~np.isnan(column)].tolist()
        return stored

    return read
