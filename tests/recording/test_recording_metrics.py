"""Metric queries on a recording, cached and uncached."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from weakref import ref

import duckdb
import numpy as np
import pytest

from foreshock_dashboard.model.query import Matcher, Query
from foreshock_dashboard.model.samples import Sample, SampleBatch
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.metric_cache import MAX_CACHED_SAMPLES, MAX_METRIC_SAMPLES, MetricCache
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.store.samples.promql_functions import Ints

Open = Callable[[Path], Recording]
T0 = 1_790_000_000
METRICS = ("a_total", "b", "c_total")


@pytest.fixture
def path(write: Callable[..., Path]) -> Path:
    """Three metrics of five pods over ten minutes; some pods start late or are missing for a while."""
    chance = random.Random(5)
    batches = []
    for k in range(60):
        samples = [
            Sample(metric, (("pod", f"p{pod}"),), float(k * (pod + 1)))
            for metric in METRICS
            for pod in range(5)
            if k > 7 * pod and chance.random() < 0.9
        ]
        batches.append(SampleBatch(T0 + 10 * k + chance.random(), "t", tuple(samples)))
    return write(batches)


@pytest.mark.parametrize(("most", "room"), [(0, 0), (MAX_METRIC_SAMPLES, 300), (200, MAX_CACHED_SAMPLES)])
def test_answers_do_not_depend_on_the_cache(path: Path, opened: Open, most: int, room: int) -> None:
    """Nothing cached, the first metrics cached, or small metrics only."""
    recording, less = opened(path), opened(path)
    less.cache = MetricCache(less.rows, most, room)
    cached, other = RecordedMetrics(recording), RecordedMetrics(less)
    chance = random.Random(6)
    for _ in range(60):
        start = float(T0 + 10 * chance.randrange(-6, 60))
        end = start + 10.0 * chance.randrange(30)
        pods = "|".join(f"p{pod}" for pod in range(5) if chance.random() < 0.6) or "p9"
        query = Query(
            chance.choice(METRICS),
            matchers=(Matcher("pod", "=~", pods),),
            reduce=chance.choice(("last", "rate")),
            window=chance.choice((15.0, 60.0, 300.0)),
        )
        ours, theirs = (each.fetch(query, start, end, 10.0) for each in (cached, other))
        assert ours.labels == theirs.labels
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_closing_a_recording_frees_the_cache(path: Path) -> None:
    """At once, without garbage collection."""
    recording = Recording(path)
    source = RecordedMetrics(recording)
    assert len(source.fetch(Query("b", reduce="last", window=60.0), float(T0 + 60), float(T0 + 60), 10.0))
    series = [each for each in recording.series if each.metric == "b"]
    rows = recording.cache.rows(series[0].first, series[-1].last)
    assert rows is not None
    values = ref(rows.values)
    del rows
    recording.close()
    assert values() is None


def test_interleaved_metrics_are_distinguished(path: Path, opened: Open, tmp_path: Path) -> None:
    """A file sorted by pod gives the same answers as one sorted by metric."""
    other = tmp_path / "other"
    shutil.copytree(path, other)
    with duckdb.connect() as engine:
        engine.execute(
            "copy (select * from read_parquet($one) order by labels, metric, timestamp) to $two (format parquet)",
            {"one": str(path / "metrics.parquet"), "two": str(other / "metrics.parquet")},
        )
    meta = json.loads((other / "meta.json").read_text())
    del meta["files"]
    (other / "meta.json").write_text(json.dumps(meta))
    sources = [RecordedMetrics(opened(each)) for each in (path, other)]
    for metric in METRICS:
        query = Query(metric, reduce="rate", window=60.0)
        ours, theirs = (source.fetch(query, float(T0 + 60), float(T0 + 500), 10.0) for source in sources)
        assert ours.labels == theirs.labels != ()
        np.testing.assert_array_equal(ours.values, theirs.values)


def test_a_metric_is_read_once_for_all_queries(path: Path, opened: Open) -> None:
    """The rows serve every window, and every source over the same recording."""
    recording = opened(path)
    read: list[tuple[int, int]] = []

    def counting(first: int, last: int) -> tuple[Ints, Floats]:
        read.append((first, last))
        return recording.rows(first, last)

    recording.cache = MetricCache(counting)
    for _ in range(2):
        source = RecordedMetrics(recording)
        for start in range(T0, T0 + 600, 60):
            assert len(source.fetch(Query("b", reduce="last", window=60.0), float(start + 60), float(start + 60), 10.0))
    assert len(read) == 1
