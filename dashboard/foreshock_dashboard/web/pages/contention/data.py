"""The payload of the Contention page: waits of services for each other, and the use of GPU time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import tier_by_service
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.units import counted, percent, plural
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.charts.theme import service_color
from foreshock_dashboard.web.pages.contention.pair import PairDetail, pair_detail
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.numbers import Row, newest, number
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO, Pair, pairs, placement

MAX_PAIRS = 600
"""Pairs on the page, the longest waits first; /api/contention and its CSV have all."""
MAX_GPUS = 60
"""Ranked GPUs on the page."""
MAX_GROUPS = 60
"""Pools or hosts on the page."""
TIME_SPLIT_SECONDS = 300.0
"""Window of the mean use of a GPU's time."""
UNKNOWN_RANK, ABSENT_RANK = -1.0, -2.0
"""Sort keys of unknown waits, and of a side without any."""


class TimeSplit(NamedTuple):
    """The use of GPU time, shares 0…1; NaN where unknown.

    useful: busy for one service, or for several without contention. contended: full, and wanted by several
    (docs/reference/metrics.md). idle: the rest.
    """

    useful: Floats
    contended: Floats
    idle: Floats


class TenantRow(Row):
    """A service on a GPU."""

    service: str
    busy: float | None
    stalled: float | None


class RankedGpu(Row):
    """A GPU with its waits, and the use of its time, shares 0…1."""

    gpu: str
    pool: str
    waiters: int | None
    wait: float | None
    useful: float | None
    contended: float | None
    idle: float | None
    services: list[TenantRow]


class GroupRow(Row):
    """A pool or a host, and the use of its GPUs' time, shares 0…1."""

    name: str
    gpus: int
    useful: float | None
    contended: float | None
    idle: float | None


class Groups(Row):
    """The use of GPU time by pool or host."""

    by: Literal["pool", "host"]
    rows: list[GroupRow]
    all: int


class Tiers(Row):
    """GPUs by tier and pool: [GPUs, GPUs shared with another tier] in each cell."""

    tiers: list[str]
    pools: list[str]
    cells: list[list[list[int] | None]]
    mixed: int
    configured: bool


class ContentionPage(TypedDict, total=False):
    """The payload of the Contention page; before the first evaluation `ready` alone.

    services: name and color. victims, aggressors, jobs, pairs: indexes into services; a pair is victim, aggressor,
    share of time, number of GPUs, and whether it is in an incident.
    """

    ready: Required[bool]
    headline: str
    services: list[tuple[str, int]]
    victims: list[int]
    aggressors: list[int]
    jobs: list[int]
    pairs: list[tuple[int, int, float | None, int, bool]]
    hidden: int
    gpus: list[RankedGpu]
    groups: Groups
    tiers: Tiers
    missing: list[str]
    pair: PairDetail | None


def time_split(world: World) -> TimeSplit:
    """The use of the time of each GPU, mean of the last `TIME_SPLIT_SECONDS`; shape (gpus,)."""
    points = max(1, world.points(TIME_SPLIT_SECONDS))
    busy, contended = (nan_mean(values[:, -points:]) for values in (world.utilization, world.contended))
    busy = np.clip(busy, 0.0, 1.0)
    both = np.minimum(contended, busy)
    return TimeSplit(busy - np.nan_to_num(both), both, 1.0 - busy)


def contention(snapshot: Snapshot, victim: str = "", aggressor: str = "") -> ContentionPage:
    """The payload of the page. victim, aggressor: the open pair, as `namespace/name`."""
    world = snapshot.world
    if world is None:
        return {"ready": False}
    all_pairs = pairs(world)
    listed = all_pairs[:MAX_PAIRS]
    names = sorted({str(service) for pair in listed for service in (pair.victim, pair.aggressor)})
    index = {name: i for i, name in enumerate(names)}
    warned = {(str(item.victim), str(item.aggressor)): item for item in open_incidents(snapshot) if item.aggressor}
    split, serving = time_split(world), serving_services(world)
    return {
        "ready": True,
        "headline": headline(all_pairs, serving, warned) if world.gpus else "No GPU is known yet.",
        "services": [(name, service_color(name)) for name in names],
        "victims": [index[str(service)] for service in worst_first(listed, "victim", serving)],
        "aggressors": [index[str(service)] for service in worst_first(listed, "aggressor", serving)],
        "jobs": sorted({index[str(pair.victim)] for pair in listed if pair.victim not in serving}),
        "pairs": [
            (index[victim_], index[aggressor_], pair.ratio, len(pair.gpus), (victim_, aggressor_) in warned)
            for pair in listed
            for victim_, aggressor_ in ((str(pair.victim), str(pair.aggressor)),)
        ],
        "hidden": len(all_pairs) - len(listed),
        "gpus": ranked_gpus(world, split),
        "groups": groups(world, split),
        "tiers": tiers(world),
        "missing": [name for name in world.missing if "stalled" in name or "contended" in name],
        "pair": pair_detail(snapshot, all_pairs, victim, aggressor) if victim or aggressor else None,
    }


def worst_first(
    pairs_: Sequence[Pair], side: Literal["victim", "aggressor"], serving: Collection[Service]
) -> list[Service]:
    """One side of all pairs, by the longest wait of a serving victim, then of any victim.

    Services without requests come last, and after others those that keep only such jobs waiting.
    """
    longest: dict[Service, tuple[float, float]] = {}
    for pair in pairs_:
        wait = UNKNOWN_RANK if pair.ratio is None else pair.ratio
        serving_wait, any_wait = longest.get(service := getattr(pair, side), (ABSENT_RANK, ABSENT_RANK))
        longest[service] = max(serving_wait, wait if pair.victim in serving else ABSENT_RANK), max(any_wait, wait)
    return sorted(longest, key=lambda service: (-longest[service][0], -longest[service][1], str(service)))


def headline(pairs_: Sequence[Pair], serving: Collection[Service], warned: Collection[tuple[str, str]] = ()) -> str:
    """The worst pair with a serving victim as a sentence; or why there is none.

    warned: victim and aggressor of the pairs in an incident.
    """
    if not pairs_:
        return "No two services share a GPU, so none can starve another."
    known = [pair for pair in pairs_ if pair.ratio is not None]
    if not known:
        return "Cannot tell: nothing says who waits for whom."
    waiting = [pair for pair in known if (pair.ratio or 0.0) >= MIN_WAIT_RATIO]
    if not waiting:
        return f"No service waits for another: {counted(len(pairs_), 'pair')} share GPUs in peace."
    worst = next((pair for pair in waiting if pair.victim in serving), waiting[0])
    subject = f"{worst.victim}{'' if worst.victim in serving else ', which answers no requests,'}"
    wait_text = f"{subject} waits up to {percent(worst.ratio or 0.0)} of its time for {worst.aggressor}"
    wait = f"{len(waiting)} {plural(len(waiting), 'waits', 'wait')}"
    in_incident = any((str(pair.victim), str(pair.aggressor)) in warned for pair in pairs_)
    none = "" if in_incident else "; none is in an incident"
    more = f" Of {counted(len(pairs_), 'pair')} that share GPUs, {wait}{none}." if len(pairs_) > 1 else ""
    return f"{wait_text} on {counted(len(worst.gpus), 'GPU')}.{more}"


def ranked_gpus(world: World, split: TimeSplit) -> list[RankedGpu]:
    """GPUs by the number of waiting services times their wait, the worst first; then by contention."""
    rows_, stalled = placement(world), newest(world.stalled)
    waiting = np.nan_to_num(stalled) >= MIN_WAIT_RATIO
    count = len(world.gpus)
    waits = np.bincount(rows_.gpu[waiting], stalled[waiting], count)
    waiters = np.bincount(rows_.gpu[waiting], minlength=count)
    score = waits * waiters
    order = np.lexsort((np.arange(count), -np.nan_to_num(split.contended), -score))[:MAX_GPUS].tolist()
    is_known = bool(np.isfinite(stalled).any())
    ranked = []
    for row in order:
        pool, services = world.pool[row] if world.pool else "", _tenants(world, rows_.on(row).tolist())
        wait = (int(waiters[row]), number(float(waits[row]))) if is_known else (None, None)
        ranked.append(RankedGpu(world.gpus[row].label, pool, *(*wait, *_shares(split, [row]), services)))
    return ranked


def _tenants(world: World, rows: Sequence[int]) -> list[TenantRow]:
    """Services on a GPU, the busiest first."""
    busy, stalled = newest(world.busy), newest(world.stalled)
    rows = sorted(rows, key=lambda row: (-np.nan_to_num(busy[row]), world.tenants[row].service))
    return [
        TenantRow(str(world.tenants[row].service), number(float(busy[row])), number(float(stalled[row])))
        for row in rows
    ]


def groups(world: World, split: TimeSplit) -> Groups:
    """The use of GPU time by pool, or by host without pools. The most contended first."""
    by_pool = any(world.pool)
    rows: dict[str, list[int]] = {}
    for i, gpu in enumerate(world.gpus):
        rows.setdefault((world.pool[i] or "no pool") if by_pool else gpu.host, []).append(i)
    groups = [GroupRow(name, len(members), *_shares(split, members)) for name, members in rows.items()]
    groups.sort(key=lambda group: (-(group.contended or 0.0), group.name))
    return Groups("pool" if by_pool else "host", groups[:MAX_GROUPS], all=len(groups))


def tiers(world: World) -> Tiers:
    """GPUs of each pool that each tier is on, and the number of GPUs with more than one tier.

    `cells` has a row per tier: for each pool [GPUs, GPUs that are shared with another tier].
    """
    tiers, rows_ = tier_by_service(world), placement(world)
    names = sorted({tiers.get(service, "") for service in rows_.services})
    places = sorted(set(world.pool)) if any(world.pool) else [""]
    pool = np.array([places.index(name) for name in world.pool] if any(world.pool) else [0] * len(world.gpus), np.int64)
    tier = np.array([names.index(tiers.get(service, "")) for service in rows_.services], np.int64)
    on = np.zeros((len(world.gpus), len(names)), bool)
    on[rows_.gpu, tier[rows_.service]] = True
    is_mixed = on.sum(axis=1) > 1

    def cell(tier: int, where: int) -> list[int] | None:
        selected = on[:, tier] & (pool == where)
        return [int(selected.sum()), int((selected & is_mixed).sum())] if selected.any() else None

    cells = [[cell(i, where) for where in range(len(places))] for i in range(len(names))]
    return Tiers(names, places, cells, int(is_mixed.sum()), configured=any(world.tier))


def _shares(split: TimeSplit, rows: Sequence[int]) -> Iterator[Any]:
    """Useful, contended, and idle time, means over GPUs."""
    return (number(float(nan_mean(values[list(rows)][None])[0])) for values in split)
