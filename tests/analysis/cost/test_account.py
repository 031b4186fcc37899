"""Each GPU-second is allocated to the services that hold it, unallocated, or of unknown use."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.analysis.cost.usages import STEP, STEPS, Held, holder, usage

from foreshock_dashboard.analysis.cost.account import MAX_LINES, account
from foreshock_dashboard.model.cost.ledger import Figure, Holding
from foreshock_dashboard.model.cost.usage import GpuUsage

HOUR = STEP * STEPS
Lines = dict[str, dict[str, float]]


def lines(found: GpuUsage, max_lines: int = MAX_LINES) -> Lines:
    """Figures in hours of a GPU, by service, or by holding without one."""
    hour = account(found, max_lines)
    return {
        key.service.name if key.service else key.holding: {
            figure.name.lower(): float(values[figure]) / HOUR for figure in Figure if values[figure]
        }
        for key, values in zip(hour.keys, hour.values, strict=True)
    }


def parts(found: GpuUsage, *figures: str) -> dict[str, tuple[float, ...]]:
    """Some figures of each line, rounded."""
    return {name: tuple(round(line.get(figure, 0.0), 3) for figure in figures) for name, line in lines(found).items()}


HOLDERS = [holder("chat"), holder("batch")]
ALLOCATED: dict[str, tuple[GpuUsage, dict[str, float]]] = {
    "a service alone has the whole GPU": (usage(1, [holder("chat")], [0.5]), {"chat": 1}),
    "sharers divide it": (usage(1, HOLDERS, [0.5, 0.1]), {"chat": 0.5, "batch": 0.5}),
    "by their containers": (
        usage(1, [holder("chat", weight=3), holder("batch")], [0.5, 0.1]),
        {"chat": 0.75, "batch": 0.25},
    ),
    "a MIG part has its share, the rest is free": (
        usage(1, [holder("chat", fraction=0.5)], [np.nan], utilization=[np.nan]),
        {"chat": 0.5, "unallocated": 0.5},
    ),
    "MIG parts never exceed the GPU": (
        usage(1, [holder("chat", fraction=0.8), holder("batch", fraction=0.8)], [0, 0]),
        {"chat": 0.5, "batch": 0.5},
    ),
    "for the time it is held": (
        usage(1, [holder("chat")], [0.5], held=[[1, 1, 0, 0, 0, 0]], utilization=[0]),
        {"chat": 1 / 3, "unallocated": 2 / 3},
    ),
    "of GPUs that report": (usage(1, [holder("chat")], [0.5], present=[[1, 1, 1, 0, 0, 0]]), {"chat": 0.5}),
    "an idle GPU without a pod or process is free": (usage(1), {"unallocated": 1}),
    "also where only processes are shown": (usage(1, allocations=False), {"unallocated": 1}),
    "a busy one without a name is not": (usage(1, utilization=[0.8]), {"unknown": 1}),
    "nor one of which neither is shown": (usage(1, allocations=False, processes=False), {"unknown": 1}),
    "nor one whose use is unknown": (usage(1, utilization=[np.nan]), {"unknown": 1}),
    "nor one that a gauge shows idle now and then": (usage(1, counted=False), {"unknown": 1}),
    "nor one that does not say whether it is busy": (usage(1, allocations=False, utilization=[np.nan]), {"unknown": 1}),
}


@pytest.mark.parametrize("case", ALLOCATED)
def test_gpu_time_is_allocated(case: str) -> None:
    """By its holders, and what they hold of it."""
    found, expected = ALLOCATED[case]
    assert {name: line["allocated"] for name, line in lines(found).items()} == pytest.approx(expected)


USES: dict[str, tuple[GpuUsage, dict[str, tuple[float, ...]]]] = {
    "busy, waiting, and idle": (usage(1, [holder("chat")], [0.5], waiting=[0.2]), {"chat": (1, 0.5, 0.2, 0.3, 0, 0)}),
    "a borrower is not idle, the lender is": (
        usage(1, HOLDERS, [0.8, 0.1]),
        {"chat": (0.5, 0.5, 0, 0, 0, 0.3), "batch": (0.5, 0.1, 0, 0.4, 0, 0)},
    ),
    "without a kernel in some steps": (
        usage(1, [holder("chat")], [[0, 0, 0, 0.5, 0.5, 0.5]]),
        {"chat": (1, 0.25, 0, 0.75, 0.5, 0)},
    ),
    "a pod without a process is idle": (
        usage(1, [holder("notebook", process=False)], [np.nan]),
        {"notebook": (1, 0, 0, 1, 1, 0)},
    ),
    "unless hidden processes use the GPU": (
        usage(1, [holder("notebook", process=False)], [np.nan], utilization=[0.7]),
        {"notebook": (0, 0, 0, 0, 0, 0)},
    ),
    "or processes are not shown": (
        usage(1, [holder("notebook", process=False)], [np.nan], processes=False),
        {"notebook": (0, 0, 0, 0, 0, 0)},
    ),
    "or the utilization is unknown, as with MIG": (
        usage(1, [holder("embed", fraction=0.5, process=False)], [np.nan], utilization=[np.nan]),
        {"embed": (0, 0, 0, 0, 0, 0), "unallocated": (0.5, 0, 0, 0, 0, 0)},
    ),
    "what no one holds is not idle": (usage(1), {"unallocated": (1, 0, 0, 0, 0, 0)}),
    "waiting is time that it held": (
        usage(1, HOLDERS, [0.8, 0.1], waiting=[0.2, 0.7]),
        {"chat": (0.5, 0.5, 0, 0, 0, 0.3), "batch": (0.5, 0.1, 0.4, 0, 0, 0)},
    ),
    "unknown is not idle": (
        usage(1, [holder("chat")], [np.nan], utilization=[np.nan]),
        {"chat": (0, 0, 0, 0, 0, 0)},
    ),
}


@pytest.mark.parametrize("case", USES)
def test_the_use_of_gpu_time_is_known_or_absent(case: str) -> None:
    """Known, busy, waiting, idle, unused, and borrowed."""
    found, expected = USES[case]
    assert parts(found, "known", "busy", "waiting", "idle", "unused", "borrowed") == expected


def test_energy_is_divided_by_busy_share() -> None:
    """By what is held where nothing runs; SM activity likewise."""
    found = lines(usage(1, HOLDERS, [0.6, 0.2], sm_active=0.4))
    idle = lines(usage(1, [holder("chat", fraction=0.25)], [0.0]))

    assert [round(line["joules"], 3) for line in found.values()] == [225, 75]
    assert [round(line["sm_active"] / line["sm_busy"], 3) for line in found.values()] == [0.5, 0.5]
    assert [round(line["joules"], 3) for line in idle.values()] == [75, 225]


def test_idle_power_is_of_those_that_hold_the_gpu() -> None:
    """The rest of the power is by busy share. A GPU that is never idle has the idle power of its model."""
    two = [holder("chat"), holder("notebook")]
    mixed = usage(1, two, [[0, 0, 0.5, 0.5, 0.5, 0.5], 0.0])
    power = np.array([[100.0, 100.0, 400.0, 400.0, 400.0, 400.0]])
    alone = lines(replace(mixed, watts=power))
    beside = usage(2, [*two, holder("other", 1)], [0.5, 0.0, 0.0])
    shared = lines(replace(beside, watts=np.array([[400.0] * 6, [100.0] * 6])))

    hours = 1 / 6
    assert alone["chat"]["joules"] == pytest.approx((50 * 6 + 300 * 4) * hours)
    assert alone["notebook"]["joules"] == pytest.approx(50 * 6 * hours)
    assert [shared[name]["joules"] for name in ("chat", "notebook", "other")] == pytest.approx([350, 50, 100])


def test_energy_of_a_model_that_is_never_idle_is_by_busy_share_alone() -> None:
    """Its idle power is unknown, and so is the energy of what does not use the GPU: absent, not 0."""
    found = lines(usage(1, [holder("chat"), holder("notebook")], [0.5, 0.0]))

    assert found["chat"]["joules"] == pytest.approx(300)
    assert not {"joules", "powered"} & found["notebook"].keys()
    part = lines(usage(1, [holder("chat", fraction=0.25)], [0.5]))
    assert part["chat"]["joules"] == pytest.approx(300)
    assert not {"joules", "powered"} & part["unallocated"].keys()


def test_unknown_power_and_activity_are_absent() -> None:
    """Never zero watts."""
    (line,) = lines(usage(1, [holder("chat")], [0.5], watts=math.nan)).values()

    assert not {"joules", "powered", "sm_busy", "sm_active"} & line.keys()


def test_the_smallest_of_thousands_of_lines_are_one() -> None:
    """With the same sum: names of jobs have no end."""
    jobs = [holder(f"job-{i}", i // 4, weight=1 + i) for i in range(8)]
    found = lines(usage(3, jobs, [0.1] * 8), max_lines=2)

    assert set(found) == {"job-3", "unallocated", "(other)"}
    assert sum(line["allocated"] for line in found.values()) == pytest.approx(3)
    assert found["(other)"]["busy"] == pytest.approx(0.7)


@st.composite
def _usages(draw: st.DrawFn) -> GpuUsage:
    gpus = draw(st.integers(1, 4))
    ratios = st.one_of(st.just(math.nan), st.floats(0, 1))
    steps = st.lists(ratios, min_size=STEPS, max_size=STEPS)
    flags = st.lists(st.sampled_from([0.0, 1.0]), min_size=STEPS, max_size=STEPS)
    names = draw(st.lists(st.tuples(st.integers(0, gpus - 1), st.sampled_from("abc")), unique=True, max_size=6))
    held_by: list[Held] = [
        holder(
            name,
            gpu,
            weight=draw(st.integers(1, 4)),
            fraction=draw(st.one_of(st.just(math.nan), st.sampled_from([1 / 7, 3 / 7, 1.0]))),
            process=draw(st.booleans()),
        )
        for gpu, name in names
    ]

    def each(values: st.SearchStrategy[list[float]], count: int) -> list[list[float]]:
        return [draw(values) for _ in range(count)]

    n = len(held_by)
    return usage(
        gpus,
        held_by,
        each(steps, n),
        waiting=each(steps, n),
        held=each(flags, n),
        utilization=each(steps, gpus),
        present=each(flags, gpus),
        watts=draw(st.sampled_from([math.nan, 0.0, 250.0])),
        sm_active=draw(ratios),
        allocations=draw(st.booleans()),
        processes=draw(st.booleans()),
        counted=draw(st.booleans()),
        given=draw(st.booleans()),
    )


@given(_usages())
def test_all_lines_sum_to_the_gpu_time_of_the_fleet(found: GpuUsage) -> None:
    """Whatever is unknown; energy too, and no part exceeds the whole."""
    hour = account(found)
    sums = hour.values.sum(axis=0)
    fleet = float(found.present.sum()) * STEP

    assert sums[Figure.ALLOCATED] == pytest.approx(fleet)
    assert np.isfinite(hour.values).all()
    assert (hour.values >= 0).all()
    assert sums[Figure.JOULES] == pytest.approx(np.nansum(np.where(found.present, found.watts, 0)) * STEP)
    for figure in (Figure.KNOWN, Figure.POWERED, Figure.INFERRED):
        assert (hour.values[:, figure] <= hour.values[:, Figure.ALLOCATED] + 1e-3).all()
    of_services = hour.values[[key.holding is Holding.SERVICE for key in hour.keys]]
    others = hour.values[[key.holding is not Holding.SERVICE for key in hour.keys]]
    parts_of_use = (Figure.BUSY, Figure.WAITING, Figure.IDLE)
    np.testing.assert_allclose(of_services[:, parts_of_use].sum(axis=1), of_services[:, Figure.KNOWN], atol=1e-2)
    assert (of_services[:, Figure.UNUSED] <= of_services[:, Figure.IDLE] + 1e-3).all()
    assert (of_services[:, Figure.SAMPLED] <= of_services[:, Figure.KNOWN] + 1e-3).all()
    assert not others[:, [*parts_of_use, Figure.UNUSED, Figure.BORROWED]].any()
    held = {key: values[Figure.ALLOCATED] for key, values in zip(hour.keys, hour.values, strict=True)}
    for line in hour.keys:
        idle = sum(run.gpus * run.seconds for gpu, run in hour.idle.items() if gpu.key == line)
        assert idle <= held[line] + 1
