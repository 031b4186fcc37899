"""Two time ranges side by side: services, GPUs, and pairs, each by the median of a signal. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from typing_extensions import TypedDict

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.stats.robust import median
from foreshock_dashboard.web.state.numbers import Row, number, number_of_time

Entity = Literal["service", "call", "gpu", "pair"]
MAX_ROWS = 200
FLOORS = {"req/s": 0.1, "ratio": 0.001, "s": 0.001, "": 0.1}
"""By unit: values below it count as equal to it, so that a change of almost nothing is not a large one."""


class ComparedRow(Row):
    """A signal of an entity in both ranges: medians over the evaluations of the range; null without data.

    ratio: of `value` to `baseline`; null where either is unknown or the baseline is 0.
    """

    kind: Entity
    entity: str
    signal: str
    unit: str
    baseline: float | None
    value: float | None
    ratio: float | None


class RangeJson(TypedDict):
    """A time range, and how many evaluations of it were read. Unix seconds; null without data."""

    start: float | None
    end: float | None
    evaluations: int


class Comparison(TypedDict):
    """Two time ranges side by side, the largest relative changes first: those from and to 0 before all others.

    omitted: rows beyond the first 200.
    """

    baseline: RangeJson
    range: RangeJson
    rows: list[ComparedRow]
    omitted: int


def comparison(baseline: World | None, current: World | None, service: Service | None = None) -> Comparison:
    """Every signal in two ranges. service: only this one, its calls, the GPUs that it runs on, and its pairs."""
    before = _medians(baseline, service) if baseline else {}
    after = _medians(current, service) if current else {}
    rows = [_row(key, before.get(key, math.nan), after.get(key, math.nan)) for key in dict.fromkeys([*after, *before])]
    known = [row for row in rows if row.baseline is not None or row.value is not None]
    known.sort(key=lambda row: (*_change(row), row.kind, row.entity, row.signal))
    return {
        "baseline": _range(baseline),
        "range": _range(current),
        "rows": known[:MAX_ROWS],
        "omitted": max(0, len(known) - MAX_ROWS),
    }


Key = tuple[Entity, str, str, str]
"""Kind, name, signal, and unit."""


def _row(key: Key, before: float, after: float) -> ComparedRow:
    ratio = after / before if before > 0 else math.nan
    return ComparedRow(*key, number(before), number(after), number(ratio))


def _change(row: ComparedRow) -> tuple[bool, float]:
    """The place of a relative change: the lower, the larger it is, the same for twice and half."""
    if row.baseline is None or row.value is None:
        return True, 0.0
    low, high = sorted((row.baseline, row.value))
    floor = FLOORS[row.unit]
    return low > 0 or high <= floor, -math.log(max(high, floor) / max(low, floor))


def _range(world: World | None) -> RangeJson:
    if world is None:
        return {"start": None, "end": None, "evaluations": 0}
    times = world.times
    return {"start": number_of_time(float(times[0])), "end": number_of_time(world.time), "evaluations": len(times)}


def _medians(world: World, service: Service | None) -> dict[Key, float]:
    """The medians of a range by signal of an entity."""
    found: dict[Key, float] = {}
    for kind, names, signals in _sections(world, service):
        rows = [row for row, name in enumerate(names) if name]
        for signal, unit, values in signals:
            medians = median(values[rows]).tolist() if rows else []
            found |= {(kind, names[row], signal, unit): median for row, median in zip(rows, medians, strict=False)}
    return found


Signals = Sequence[tuple[str, str, Floats]]
"""Name, unit, and values of shape (rows, times)."""


def _sections(world: World, service: Service | None) -> Iterator[tuple[Entity, list[str], Signals]]:
    """The kinds of entities with the name of each row, "" for one that is left out, and their signals."""

    def named(name: object, *services: Service) -> str:
        return str(name) if service is None or service in services else ""

    red, calls = world.red, world.calls
    yield (
        "service",
        [named(one, one) for one in world.services],
        [
            ("requests_per_second", "req/s", red.rate),
            ("error_rate", "ratio", red.error_rate),
            ("p50_seconds", "s", red.p50),
            ("p95_seconds", "s", red.p95),
            ("p99_seconds", "s", red.p99),
        ],
    )
    yield (
        "call",
        [named(f"{edge.client} -> {edge.server}", edge.client, edge.server) for edge in world.edges],
        [
            ("requests_per_second", "req/s", calls.rate),
            ("error_rate", "ratio", calls.error_rate),
            ("p95_seconds", "s", calls.p95),
            ("attempts_per_call", "", world.attempts),
        ],
    )
    on_gpu: dict[object, list[Service]] = {}
    for tenant in world.tenants:
        on_gpu.setdefault(tenant.gpu, []).append(tenant.service)
    yield (
        "gpu",
        [named(gpu.label, *on_gpu.get(gpu, ())) for gpu in world.gpus],
        [("utilization_ratio", "ratio", world.utilization), ("contended_ratio", "ratio", world.contended)],
    )
    yield (
        "pair",
        [
            named(f"{pair.affected} waits on {pair.noisy_neighbor} ({pair.gpu.label})", *pair[1:])
            for pair in world.gpu_wait_pairs
        ],
        [("gpu_wait_ratio", "ratio", world.gpu_wait_by)],
    )
