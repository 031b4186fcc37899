"""A World built incrementally equals one built at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock_dashboard.common.series_index import CachedLabelHasher, SeriesIndex, label_hashes
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels, labels_of
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.builder import MIN_KEPT_SECONDS, WorldBuilder, build_world, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.row import Readings
from foreshock_dashboard.world.section import ColumnBuffer

pytestmark = pytest.mark.slow

STEP = 10.0
POINTS = 30
HOSTS, SERVICES = ("h1:1", "h2:1", "h3:1"), ("llm", "batch", "web")


def series() -> dict[str, list[dict[str, str]]]:
    """The series of a small platform, by reading; two jobs scrape the first host."""
    targets = [{"job": "exporter", "instance": host} for host in HOSTS] + [{"job": "twice", "instance": HOSTS[0]}]
    gpus = [{**target, "uuid": f"{target['instance']}-{i}"} for target in targets for i in range(2)]
    services = [{"service_name": name, "service_namespace": "ns"} for name in SERVICES]
    pairs = (("user", "web", "virtual_node"), ("web", "llm", ""), ("web", "db", "database"), ("llm", "batch", ""))
    calls = [{"client": client, "server": server, "connection_type": kind} for client, server, kind in pairs]
    replicas = [{"job": "m", "instance": f"r{i}", **services[i % 2], "engine": str(i % 3)} for i in range(5)]
    deployments = [{"namespace": "ns", "deployment": name} for name in (*SERVICES, "other")]
    found = dict.fromkeys(("utilization", "contended", "memory_used", "power", "clock", "clock_max", "throttled"), gpus)
    found |= dict.fromkeys(("segments", "retransmitted", "timeouts", "dropped", "mock"), targets)
    found |= {key: [{**gpu, **one} for gpu in gpus for one in services] for key in ("busy", "gpu_wait", "memory")}
    found |= dict.fromkeys(("calls", "calls_failed", "retries", "server_seconds", "client_seconds"), calls)
    found |= dict.fromkeys(("served", "served_failed", "served_seconds", "first_token_seconds"), services)
    found |= dict.fromkeys(("running", "waiting", "cache", "finished", "queued_sum", "queued_count"), replicas)
    found |= dict.fromkeys(("specified", "ready"), deployments)
    found |= {key: [{**target, "device": "eth0"} for target in targets] for key in ("received", "sent", "speed")}
    found["up"] = [*targets, *({"job": "m", "instance": f"r{i}"} for i in range(4))]
    found["host"] = [{**target, "host_name": target["instance"][:2]} for target in targets[:2]]
    found["gpu"] = [{**gpu, "gpu": gpu["uuid"][-1], "model": "H100"} for gpu in gpus]
    found["gpu_wait_by"] = [
        {**gpu, **services[0], "aggressor_name": name} for gpu in gpus for name in ("batch", "web", "")
    ]
    found["scaler_target"] = [{"namespace": "ns", "horizontalpodautoscaler": "a", "scaletargetref_name": "llm"}]
    found["scaler_wanted"] = [{"namespace": "ns", "horizontalpodautoscaler": name} for name in ("a", "b")]
    found["pending"] = [{"namespace": "ns", "pod": f"{name}-{i}"} for name in (*SERVICES, "x") for i in range(2)]
    found["quota"] = [{"namespace": "n", "resourcequota": q, "type": t} for q in "pq" for t in ("hard", "used")]
    return found


NAMING = ("up", "host", "gpu", "scaler_target", "specified", "running")
"""Readings that name entities, without gaps: an identity holds from its first sample on."""


def platform(seed: int) -> dict[str, Matrix]:
    """Answers over `POINTS` grid points, with gaps, and with series that come and go."""
    chance = np.random.default_rng(seed)
    times = 1_800_000_000.0 + STEP * np.arange(POINTS, dtype=np.float64)

    def values(key: str) -> Floats:
        row: Floats = chance.uniform(0, 1, POINTS)
        if key in NAMING:
            return np.ceil(0.9 - row) if key == "up" else row
        row[chance.random(POINTS) < 0.2] = np.nan
        begin, end = sorted(chance.integers(0, POINTS + 10, 2))
        row[:begin] = np.nan if chance.random() < 0.5 else row[:begin]
        row[end:] = np.nan
        return row

    def rows(key: str, labels: dict[str, str]) -> Iterator[tuple[Labels, Floats]]:
        if not key.endswith("_seconds"):
            yield labels_of(labels), values(key)
            return
        total: Floats = values(key)
        for bound, part in zip(("0.1", "1.0", "+Inf"), (float(chance.random()), 0.95, 1.0), strict=True):
            yield labels_of({**labels, "le": bound}), total * part

    known = series()
    return {
        key: Matrix.of(times, dict(row for labels in known.get(key, ()) for row in rows(key, labels)))
        for key in catalog(59.0)
    }


def columns(found: Readings, begin: int, end: int) -> Readings:
    """The answers for some of the grid points."""
    return {
        key: Matrix.of(matrix.times[begin:end], dict(zip(matrix.labels, matrix.values[:, begin:end], strict=True)))
        for key, matrix in found.items()
    }


def figures(value: object, path: str = "world") -> Iterator[tuple[str, object]]:
    """All fields of a World, by path."""
    if is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from figures(getattr(value, field.name), f"{path}.{field.name}")
    else:
        yield path, value


def check(one: object, other: object, tolerance: float = 0.0) -> None:
    """Fail if two Worlds differ."""
    expected = dict(figures(other))
    for path, value in figures(one):
        if isinstance(value, np.ndarray):
            np.testing.assert_allclose(value, np.asarray(expected[path]), rtol=tolerance, atol=0, err_msg=path)
        else:
            assert value == expected[path], path


@settings(max_examples=settings().max_examples // 4)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=12),
    keep=st.sampled_from([np.inf, 350.0, 120.0, 0.0]),
)
def test_incremental_equals_at_once(seed: int, sizes: list[int], keep: float) -> None:
    """For pieces of any size and any history; Worlds returned earlier stay as they were."""
    found = platform(seed)
    growing, condense = WorldBuilder(STEP, keep), QuantileReducer()
    returned = []
    reached = 0
    for size in sizes:
        world = growing.add(condense(columns(found, reached, reached + size)))
        reached = min(reached + size, POINTS)
        begin = max(0, reached - 1 - int(keep / STEP)) if np.isfinite(keep) else 0
        returned.append((world, begin, reached))
        if reached == POINTS:
            break

    for world, begin, end in (returned[0], returned[len(returned) // 2], returned[-1]):
        check(world, build_world(QuantileReducer()(columns(found, begin, end)), STEP))


def test_single_precision_gives_nearly_the_same() -> None:
    """A hub uses it."""
    found = QuantileReducer()(platform(1))

    check(WorldBuilder(STEP, dtype=np.float32).add(found), build_world(found, STEP), tolerance=1e-6)


def test_an_entity_without_samples_in_the_history_has_no_row() -> None:
    """One that comes back has its row again."""
    found = platform(2)
    at = int(np.flatnonzero(np.isnan(found["busy"].values[0]))[0])
    one = Matrix(found["busy"].times, found["busy"].labels[:2], np.ones((2, POINTS)))
    one.values[0, at + 1 : at + 4] = np.nan
    found |= {"busy": one, "memory": Matrix.empty(one.times), "gpu_wait": Matrix.empty(one.times)}
    growing = WorldBuilder(STEP, keep=20.0)

    counts = [len(growing.add(QuantileReducer()(columns(found, i, i + 1))).tenants) for i in range(at, at + 6)]

    assert counts == [2, 2, 2, 1, 2, 2]


def test_grid_points_that_were_added_already_change_nothing() -> None:
    """After a failed evaluation they are read again."""
    found = platform(4)
    growing = WorldBuilder(STEP)
    growing.add(QuantileReducer()(columns(found, 0, 10)))
    once, twice = (growing.add(QuantileReducer()(columns(found, 0, end))) for end in (10, 15))

    check(once, build_world(QuantileReducer()(columns(found, 0, 10)), STEP))
    check(twice, build_world(QuantileReducer()(columns(found, 0, 15)), STEP))


@pytest.mark.parametrize(("room", "points"), [(np.inf, 601), (500, 501), (1, MIN_KEPT_SECONDS / STEP + 1)])
def test_history_shrinks_to_fit_the_memory_but_not_below_the_minimum(room: float, points: int) -> None:
    """`room` is in columns of the one figure of fifty GPUs that has samples."""
    times = 1_800_000_000.0 + STEP * np.arange(900, dtype=np.float64)
    target = {"job": "exporter", "instance": "h:1"}
    gpus = [labels_of({**target, "uuid": f"{i:02}", "gpu": str(i)}) for i in range(50)]
    ones = {key: Matrix(times, tuple(gpus), np.ones((50, 900))) for key in ("gpu", "utilization")}
    found = {key: ones.get(key, Matrix.empty(times)) for key in catalog(59.0)}
    growing, condense = WorldBuilder(STEP, 6000.0, np.float32, room * 50 * 4), QuantileReducer()

    lengths = [len(growing.add(condense(columns(found, i, i + 10))).times) for i in range(0, 900, 10)]

    assert lengths[-1] == points


def test_history_shrinks_before_the_first_sample_of_a_figure_takes_memory_for_it() -> None:
    """The history before it has no samples, but takes as much from then on."""
    times = 1_800_000_000.0 + STEP * np.arange(500, dtype=np.float64)
    gpus = tuple(labels_of({"job": "exporter", "instance": "h:1", "uuid": f"{i:02}", "gpu": str(i)}) for i in range(50))
    known = {"gpu": np.ones((50, 500)), "utilization": np.where(times < times[400], np.nan, np.ones((50, 500)))}
    found = {key: Matrix(times, gpus, known[key]) if key in known else Matrix.empty(times) for key in catalog(59.0)}
    growing, condense = WorldBuilder(STEP, 6000.0, np.float32, 300 * 50 * 4), QuantileReducer()

    lengths = [len(growing.add(condense(columns(found, i, i + 10))).times) for i in range(0, 500, 10)]

    assert lengths[39:42] == [400, 310, 301]


def test_a_figure_takes_memory_from_its_first_sample_until_its_last_is_dropped() -> None:
    """Its values are those of an array of NaN all the time."""
    buffer, expected = ColumnBuffer(2, 3, np.dtype(np.float32)), np.full((2, 3), np.nan, np.float32)
    unknown, known = np.full((2, 1), np.nan), np.array([[np.nan], [1.0]])
    for block, taken in ((unknown, 0), (known, 4), *[(unknown, 4)] * 9):
        before, copy = buffer.view(), buffer.view().copy()
        buffer.append(block)
        expected = np.concatenate([expected, block.astype(np.float32)], axis=1)
        np.testing.assert_array_equal(buffer.view(), expected)
        np.testing.assert_array_equal(before, copy)
        assert buffer.value_bytes == taken
    buffer.trim(5)
    buffer.reorder(np.array([1, -1, 0]))
    assert buffer.view().shape == (3, 9)
    assert np.isnan(buffer.view()).all()
    assert buffer.value_bytes == 0
    assert buffer.view().strides == (0, 0)


def test_a_failure_leaves_the_builder_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next answer for the same time is added as before."""
    found = platform(3)
    growing = WorldBuilder(STEP)
    growing.add(QuantileReducer()(columns(found, 0, 10)))
    with monkeypatch.context() as broken:
        broken.setattr("foreshock_dashboard.world.calls._attempts", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            growing.add(QuantileReducer()(columns(found, 10, 20)))

    check(
        growing.add(QuantileReducer()(columns(found, 10, 20))),
        build_world(QuantileReducer()(columns(found, 0, 20)), STEP),
    )


LABELS = st.lists(st.integers(0, 40), max_size=30, unique=True).map(
    lambda numbers: tuple((("n", f"{number:03}"),) for number in sorted(numbers))
)


@given(st.lists(LABELS, min_size=1, max_size=6))
def test_series_are_numbered_once(answers: list[tuple[Labels, ...]]) -> None:
    """Whichever series appear and disappear between answers."""
    named: list[Labels] = []

    def name(labels: Labels) -> tuple[int]:
        named.append(labels)
        return (int(labels[0][1]),)

    index = SeriesIndex(name, 1)
    before: tuple[Labels, ...] = ()
    for labels in answers:
        named.clear()
        assert index.update(labels) == (labels != before)
        assert index.numbers[:, 0].tolist() == [int(series[0][1]) for series in labels]
        assert set(named) == set(labels) - set(before)
        before = labels


@given(st.lists(LABELS, max_size=6))
def test_readings_with_the_same_series_are_hashed_once(answers: list[tuple[Labels, ...]]) -> None:
    """With the same hashes as alone."""
    hasher = CachedLabelHasher()
    found = [hasher(tuple((*series,) for series in labels)) for labels in answers]
    assert [hashes.tolist() for hashes in found] == [label_hashes(labels).tolist() for labels in answers]
    assert len({*map(id, found)}) == len(set(answers))
