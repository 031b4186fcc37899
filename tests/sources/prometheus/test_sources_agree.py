"""Embedded store, recording and a real Prometheus give the same matrix for the same samples, whatever they are."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock_dashboard.model.query import Matcher, MetricSource, Query
from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.store import Store

T0 = 1_790_000_000
Load = Callable[[Sequence[SampleBatch]], MetricSource]


class Server(Protocol):
    """What the fixture `prometheus` gives."""

    url: str

    def write(self, batches: list[SampleBatch]) -> None: ...


@dataclass(frozen=True)
class Case:
    """Samples by (labels, milliseconds after T0), and how they reach the store."""

    samples: tuple[tuple[Labels, int, float], ...]
    seed: int
    """Decides the order of arrival and where segments are sealed."""
    start: int
    step: int
    steps: int
    window: int
    matchers: tuple[Matcher, ...]
    by: tuple[str, ...] | None

    def batches(self, metric: str) -> list[SampleBatch]:
        """One batch for each time."""
        by_time: dict[int, list[Sample]] = {}
        for labels, time, value in self.samples:
            by_time.setdefault(time, []).append(Sample(metric, labels, value))
        return [SampleBatch(T0 + time / 1000, "case", tuple(found)) for time, found in sorted(by_time.items())]


PLAIN = {"pod": ["a", "b", ""], "zone": ["x", "y.z", 'q"\\\n', ""]}
BUCKETS = {"le": ["0.1", "1", "+Inf"], "pod": ["a", "b", ""]}
MATCHERS = [
    (),
    (Matcher("pod", "=", "a"),),
    (Matcher("pod", "!=", "a"),),
    (Matcher("pod", "=", ""),),
    (Matcher("pod", "=~", "a|"),),
    (Matcher("zone", "=~", "y.*"), Matcher("pod", "!~", "b+")),
    (Matcher("zone", "=", 'q"\\\n'),),
    (Matcher("absent", "!=", ""),),
]


@st.composite
def one_series(draw: st.DrawFn) -> list[tuple[int, float]]:
    """Times on a grid of 10 ms (queries stand between), with jitter and gaps; a counter with resets, or any gauge."""
    interval = draw(st.sampled_from([5_000, 10_000, 15_000]))
    count = draw(st.integers(1, 40))
    time = draw(st.integers(0, 6_000)) * 10
    counter = draw(st.booleans())
    value = float(draw(st.sampled_from([0, 0, 3, 1_000_000])))
    found = []
    for _ in range(count):
        kind = draw(st.sampled_from(["tick"] * 12 + ["gap", "stale", "reset", "odd"]))
        time += interval + draw(st.integers(-20, 20)) * 10
        if kind == "gap":
            time += draw(st.integers(1, 40)) * interval
        if counter:
            value = 0.0 if kind == "reset" else value + draw(st.sampled_from([0, 1, 2.5, 1000]))
        else:
            value = draw(st.integers(-4_000, 4_000)) / 4
        given_ = draw(st.sampled_from([math.nan, math.inf, -math.inf])) if kind == "odd" else value
        found.append((time, STALE if kind == "stale" else given_))
    return found


@st.composite
def cases(draw: st.DrawFn, alphabet: dict[str, list[str]]) -> Case:
    names = st.fixed_dictionaries({name: st.sampled_from(values) for name, values in alphabet.items()})
    series = draw(st.lists(names.map(labels_of), min_size=1, max_size=5, unique=True))
    samples = [(labels, time, value) for labels in series for time, value in draw(one_series())]
    latest = max(time for _, time, _ in samples)
    start = draw(st.integers(0, latest // 10)) * 10 + 3
    return Case(
        samples=tuple(samples),
        seed=draw(st.integers(0, 1 << 16)),
        start=start,
        step=draw(st.sampled_from([1_000, 7_130, 10_000, 30_000])),
        steps=draw(st.integers(1, 60)),
        window=draw(st.sampled_from([12_340, 29_990, 59_000, 119_000, 299_000])),
        matchers=draw(st.sampled_from(MATCHERS)),
        by=draw(st.sampled_from([None, (), ("pod",), ("zone", "pod"), ("absent",)])),
    )


def fill(store: Store, batches: list[SampleBatch], seed: int) -> None:
    """Append in any order, some twice with other values (the first counts), sealing and merging now and then."""
    chance = random.Random(seed)
    order = sorted(batches, key=lambda batch: batch.time + chance.choice([0, 0, 0, 45]))
    at = 0
    while at < len(order):
        some = order[at : at + chance.randint(1, 9)]
        at += len(some)
        store.append_samples(some)
        if chance.random() < 0.2:
            store.append_samples([replace(b, samples=tuple(s._replace(value=-7.0) for s in b.samples)) for b in some])
        if chance.random() < 0.4:
            store.maintain()


def compare(store: MetricSource, server: PrometheusSource, query: Query, case: Case) -> None:
    start = T0 + case.start / 1000
    end, step = start + case.step / 1000 * (case.steps - 1), case.step / 1000
    ours, theirs = store.fetch(query, start, end, step), server.fetch(query, start, end, step)
    assert ours.labels == theirs.labels, query
    np.testing.assert_allclose(ours.values, theirs.values, rtol=1e-9, atol=0, equal_nan=True, err_msg=str(query))


relaxed = settings(
    max_examples=settings().max_examples // 8,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@relaxed
@given(case=cases(PLAIN))
def test_any_series_read_the_same_from_both(
    case: Case, prometheus: Server, fresh_store: Callable[[], Store], recorded: Load, fresh_name: Callable[[], str]
) -> None:
    """`last`, `rate` and `increase` agree under gaps, resets, staleness, matchers and `by`."""
    _run(case, fresh_name(), "", ("last", "rate", "increase"), prometheus, fresh_store(), recorded)


@relaxed
@given(case=cases(BUCKETS))
def test_any_histogram_reads_the_same_from_both(
    case: Case, prometheus: Server, fresh_store: Callable[[], Store], recorded: Load, fresh_name: Callable[[], str]
) -> None:
    """`buckets` agree, with `le` kept beside `by`."""
    _run(case, fresh_name(), "_bucket", ("buckets",), prometheus, fresh_store(), recorded)


@pytest.mark.soak
@settings(relaxed, max_examples=3_000)
@given(case=cases(PLAIN))
def test_thousands_of_series_read_the_same_from_both(
    case: Case, prometheus: Server, fresh_store: Callable[[], Store], recorded: Load, fresh_name: Callable[[], str]
) -> None:
    """The same for longer."""
    _run(case, fresh_name(), "", ("last", "rate", "increase"), prometheus, fresh_store(), recorded)


def _run(
    case: Case, name: str, suffix: str, reduces: tuple[str, ...], server: Server, store: Store, recorded: Load
) -> None:
    batches = case.batches(name + suffix)
    server.write(batches)
    fill(store, batches, case.seed)
    recording = recorded(random.Random(case.seed).sample(batches, len(batches)))
    source = PrometheusSource(server.url)
    for reduce in reduces:
        query = Query(name, case.matchers, case.by, reduce, case.window / 1000)  # type: ignore[arg-type]  # a literal
        compare(store, source, query, case)
        compare(recording, source, query, case)
    source.close()
    store.close()
