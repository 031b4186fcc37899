"""The payload of the Contention page: GPU wait by pair of services, and the use of GPU time. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Required

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.analysis.saturation.pooling import tier_by_service
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.clause import Text, filled, in_sentence, in_words, joined, joined_text, text
from foreshock_dashboard.render.incident_summary import cause_name
from foreshock_dashboard.render.units import counted
from foreshock_dashboard.render.verdict.pair_sentence import wait_clauses
from foreshock_dashboard.render.words.gpus import PAIR_TEXTS
from foreshock_dashboard.render.words.panels import ABSENT, EMPTY
from foreshock_dashboard.stats.robust import nan_mean
from foreshock_dashboard.web.pages.contention.limits import LimitReader, Limits
from foreshock_dashboard.web.pages.contention.pair import PairDetail, pair_detail
from foreshock_dashboard.web.panels.vitals import VitalJson, gpu_wait_tile
from foreshock_dashboard.web.state.conditions import IncidentStatus, incident_status, open_incidents
from foreshock_dashboard.web.state.freshness import serving_services
from foreshock_dashboard.web.state.incident_json import ClauseJson, clauses
from foreshock_dashboard.web.state.numbers import Row, newest, number, whole_percents
from foreshock_dashboard.web.state.placement import (
    MIN_WAIT_RATIO,
    Allocated,
    Pair,
    allocated,
    contended_time,
    pairs,
    placement,
    tenant_time,
)

MAX_PAIRS = 600
"""Pairs on the page, the longest waits first; /api/contention and its CSV have all."""
MAX_GPUS = 60
"""Ranked GPUs on the page."""
MAX_GROUPS = 60
"""Pools or hosts on the page."""
UNKNOWN_RANK, ABSENT_RANK = -1.0, -2.0
"""Sort keys of unknown waits, and of a side without any."""


PairRole = IncidentStatus | Literal["reverse", ""]
Shares = Sequence[float | None]
"""Shares of time by tenant; None for no data."""
PairRoles = Mapping[tuple[Service, Service], PairRole]
"""By victim and aggressor."""


class GpuTime(NamedTuple):
    """The use of GPU time in the last minute, shares 0…1 that add up to 1; NaN where unknown.

    uncontended, contended: busy for one service at a time, and busy while several services want the GPU
    (docs/reference/metrics.md). idle: the rest.
    """

    uncontended: Floats
    contended: Floats
    idle: Floats


class TenantRow(Row):
    """A service on a GPU. busy: share of time that it uses the GPU. wait: share of time that it waits for the GPU."""

    service: str
    busy: float | None
    wait: float | None


class RankedGpu(Row):
    """A GPU, the use of its time as shares 0…1, and the services on it, the busiest first.

    allocated: containers with the GPU of whose service no process is seen.
    """

    gpu: str
    pool: str
    uncontended: float | None
    contended: float | None
    idle: float | None
    services: list[TenantRow]
    allocated: list[Allocated]


class GroupRow(Row):
    """A pool or a host, and the use of its GPUs' time, shares 0…1."""

    name: str
    gpus: int
    uncontended: float | None
    contended: float | None
    idle: float | None


class Groups(Row):
    """The use of GPU time by pool or host. total: number of pools or hosts."""

    by: Literal["pool", "host"]
    rows: list[GroupRow]
    total: int


class Tiers(Row):
    """GPUs by tier and pool: [GPUs, GPUs shared with another tier] in each cell.

    shared: number of GPUs with more than one tier. configured: False where namespaces stand in for tiers.
    """

    tiers: list[str]
    pools: list[str]
    cells: list[list[list[int] | None]]
    shared: int
    configured: bool


class ContentionPage(TypedDict, total=False):
    """The payload of the Contention page; before the first evaluation `ready` alone.

    detail_clauses: that the wait of the headline is not the cause of the open incident; empty otherwise.
    services: names. victims, aggressors, batch: indexes into services; batch: those without requests. pairs: victim,
    aggressor, share of time, number of GPUs, and the role in an open incident: its status, "reverse" for the pair in
    the other direction, "" for none. hidden: number of pairs beyond `MAX_PAIRS`. gpu_count: number of all GPUs.
    limits: other resources at their limit, with an open pair those of the affected service.
    """

    ready: Required[bool]
    headline: str
    headline_clauses: list[ClauseJson]
    detail_clauses: list[ClauseJson]
    services: list[str]
    victims: list[int]
    aggressors: list[int]
    batch: list[int]
    pairs: list[tuple[int, int, float | None, int, PairRole]]
    hidden: int
    gpus: list[RankedGpu]
    gpu_count: int
    groups: Groups
    tiers: Tiers
    missing: list[str]
    pair: PairDetail | None
    limits: Limits


def gpu_time(world: World) -> GpuTime:
    """The use of the time of each GPU in the last minute; shape (gpus,)."""
    busy = np.clip(newest(world.utilization), 0.0, 1.0)
    contended = contended_time(world)
    return GpuTime(busy - np.nan_to_num(contended), contended, 1.0 - busy)


def contention(
    snapshot: Snapshot, victim: str = "", aggressor: str = "", limits: LimitReader | None = None
) -> ContentionPage:
    """The payload of the page. victim, aggressor: the open pair, as `namespace/name`. limits: reads other resources."""
    world = snapshot.world
    if world is None:
        return {"ready": False}
    current = open_incidents(snapshot)
    all_pairs = pairs(world, current)
    listed = all_pairs[:MAX_PAIRS]
    names = sorted({str(service) for pair in listed for service in (pair.victim, pair.aggressor)})
    index = {name: i for i, name in enumerate(names)}
    roles = pair_roles(current)
    time, serving = gpu_time(world), serving_services(world)
    open_pair = pair_detail(snapshot, all_pairs, victim, aggressor) if victim or aggressor else None
    worst = worst_pair(all_pairs, serving, current)
    tile = _tile(snapshot, world, worst) if worst else None
    said = headline(snapshot, world, all_pairs, worst, tile) if world.gpus else text(EMPTY["gpus"])
    return {
        "ready": True,
        "headline": joined_text(said),
        "headline_clauses": clauses(said),
        "detail_clauses": clauses(_not_the_cause(current, worst, tile)) if worst else [],
        "services": names,
        "victims": [index[str(service)] for service in worst_first(listed, "victim", serving)],
        "aggressors": [index[str(service)] for service in worst_first(listed, "aggressor", serving)],
        "batch": sorted({index[str(pair.victim)] for pair in listed if pair.victim not in serving}),
        "pairs": [
            (
                index[str(pair.victim)],
                index[str(pair.aggressor)],
                pair.ratio,
                len(pair.measured_gpus),
                roles.get((pair.victim, pair.aggressor), ""),
            )
            for pair in listed
        ],
        "hidden": len(all_pairs) - len(listed),
        "gpus": ranked_gpus(world, time),
        "gpu_count": len(world.gpus),
        "groups": groups(world, time),
        "tiers": tiers(world),
        "missing": [name for name in world.missing if name.startswith(("gpu_service_wait", "gpu_contended"))],
        "pair": open_pair,
        "limits": limits.shown(snapshot, open_pair.victim if open_pair else "") if limits else Limits([]),
    }


def pair_roles(incidents: Sequence[Incident]) -> PairRoles:
    """The roles of the pairs of open incidents."""
    roles: dict[tuple[Service, Service], PairRole] = {}
    for item in incidents:
        if (suspect := item.stated_suspect.service) is not None:
            roles[item.service, suspect] = incident_status(item)
            roles.setdefault((suspect, item.service), "reverse")
    return roles


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


def worst_pair(pairs_: Sequence[Pair], serving: Collection[Service], incidents: Sequence[Incident] = ()) -> Pair | None:
    """The pair of an open incident, else the longest wait of a serving victim, else of any; None without a wait."""
    waiting = [pair for pair in pairs_ if (pair.ratio or 0.0) >= MIN_WAIT_RATIO]
    in_incident = [pair for pair in waiting if _incident_of(pair, incidents)]
    return next((pair for pair in (*in_incident, *waiting) if pair.victim in serving), next(iter(waiting), None))


def headline(
    snapshot: Snapshot, world: World, pairs_: Sequence[Pair], worst: Pair | None, tile: VitalJson | None = None
) -> Text:
    """The worst pair as a sentence, with its baseline; or why there is none. tile: of this pair, on Now."""
    if not pairs_:
        return text(EMPTY["pairs"])
    if all(pair.ratio is None for pair in pairs_):
        return text(EMPTY["gpu_wait"])
    if worst is None:
        return filled(PAIR_TEXTS["no_contention"], pairs=counted(len(pairs_), "pair"))
    item = _incident_of(worst, open_incidents(snapshot))
    row = next((row for row in item.evidence if row.entity == _entity(worst)), None) if item else None
    baseline = row.baseline if row else tile.limit if tile else None
    return wait_clauses(
        *(worst.victim, worst.aggressor, worst.ratio or 0.0, len(worst.measured_gpus)),
        baseline=baseline,
        is_serving=worst.victim in serving_services(world),
        since=row.since if row else None,
    )


def _not_the_cause(incidents: Sequence[Incident], pair: Pair, tile: VitalJson | None) -> Text:
    """That a wait is normal, and not the cause of the open incident of its service; empty where it is, or unknown.

    A latent risk is no incident yet: nothing is affected that could have a cause. tile: of the pair, on Now.
    """
    if _incident_of(pair, incidents):
        return ()
    own = next((item for item in incidents if pair.victim in item.services and not item.summary.latent), None)
    normal = text(PAIR_TEXTS["normal"]) if tile and tile.limit_kind and tile.status == "ok" else ()
    other = filled(PAIR_TEXTS["other_cause"], cause=in_sentence(cause_name(own))) if own else ()
    return joined([*filter(None, (normal, other))], " ")


def _incident_of(pair: Pair, incidents: Sequence[Incident]) -> Incident | None:
    both = pair.victim, pair.aggressor
    return next((item for item in incidents if (item.service, item.stated_suspect.service) == both), None)


def _tile(snapshot: Snapshot, world: World, pair: Pair) -> VitalJson | None:
    """The tile of the longest wait, as on the Now page; None where it is of another pair."""
    tile = gpu_wait_tile(snapshot, world)
    return tile if tile.who.startswith(f"{in_words(_entity(pair))} (") else None


def _entity(pair: Pair) -> str:
    """The entity of the evidence on a pair."""
    return f"{pair.victim} waiting on {pair.aggressor}"


def ranked_gpus(world: World, time: GpuTime) -> list[RankedGpu]:
    """GPUs with the services on them, the most contended first, in whole percents, then by name."""
    rows, idle, times = placement(world), allocated(world), tenant_time(world)
    order = np.argsort(-whole_percents(np.nan_to_num(time.contended)), kind="stable")
    return [
        RankedGpu(
            world.gpus[row].label,
            world.pool[row] if world.pool else "",
            *(*_shares(time, [row]), _tenants(world, rows.on(row).tolist(), *times), idle.get(world.gpus[row], [])),
        )
        for row in order[:MAX_GPUS].tolist()
    ]


def _tenants(world: World, rows: Sequence[int], busy: Shares, wait: Shares) -> list[TenantRow]:
    """Services on a GPU, the busiest first."""
    rows = sorted(rows, key=lambda row: (-(busy[row] or 0.0), world.tenants[row].service))
    return [TenantRow(str(world.tenants[row].service), busy[row], wait[row]) for row in rows]


def groups(world: World, time: GpuTime) -> Groups:
    """The use of GPU time by pool, or by host without pools. The most contended first."""
    by_pool = any(world.pool)
    rows: dict[str, list[int]] = {}
    for i, gpu in enumerate(world.gpus):
        rows.setdefault((world.pool[i] or ABSENT["pool"]) if by_pool else gpu.host, []).append(i)
    groups = [GroupRow(name, len(members), *_shares(time, members)) for name, members in rows.items()]
    groups.sort(key=lambda group: (-(group.contended or 0.0), group.name))
    return Groups("pool" if by_pool else "host", groups[:MAX_GROUPS], total=len(groups))


def tiers(world: World) -> Tiers:
    """GPUs of each pool that each tier is on, and the number of GPUs with more than one tier."""
    tiers, rows_ = tier_by_service(world), placement(world)
    names = sorted({tiers.get(service, "") for service in rows_.services})
    places = sorted(set(world.pool)) if any(world.pool) else [""]
    pool = np.array([places.index(name) for name in world.pool] if any(world.pool) else [0] * len(world.gpus), np.int64)
    tier = np.array([names.index(tiers.get(service, "")) for service in rows_.services], np.int64)
    on = np.zeros((len(world.gpus), len(names)), bool)
    on[rows_.gpu, tier[rows_.service]] = True
    is_shared = on.sum(axis=1) > 1

    def cell(tier: int, where: int) -> list[int] | None:
        selected = on[:, tier] & (pool == where)
        return [int(selected.sum()), int((selected & is_shared).sum())] if selected.any() else None

    cells = [[cell(i, where) for where in range(len(places))] for i in range(len(names))]
    return Tiers(names, places, cells, int(is_shared.sum()), configured=any(world.tier))


def _shares(time: GpuTime, rows: Sequence[int]) -> Iterator[Any]:
    """Uncontended, contended, and idle time, means over GPUs."""
    return (number(float(nan_mean(values[list(rows)][None])[0])) for values in time)
