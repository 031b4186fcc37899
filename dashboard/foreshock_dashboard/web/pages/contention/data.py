"""What the Contention page shows: who waits for whom, on which GPUs, and what GPUs' time goes into. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.saturation.pooling import tier_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.pages.contention.pair import count, opened
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.freshness import answering
from foreshock_dashboard.web.state.numbers import newest, number
from foreshock_dashboard.web.state.placement import WAITING, Pair, pairs, placed

MOST_PAIRS = 600
"""Pairs on the page, the longest waits first; all are in /api/contention and its CSV."""
MOST_GPUS = 60
"""GPUs that are ranked on the page."""
MOST_GROUPS = 60
"""Pools or hosts on the page."""
LATELY = 300.0
"""Seconds whose mean says what a GPU's time goes into: a moment says little."""
UNKNOWN, NOBODY = -1.0, -2.0
"""Where waits that are not known, and those of nobody, sort."""


class Split(NamedTuple):
    """What the time of GPUs goes into, shares 0…1 of it; NaN where nothing is known.

    useful: busy for one service, or for several that do not hinder each other. contended: full, and several want it
    (docs/metrics.md). idle: the rest.
    """

    useful: Floats
    contended: Floats
    idle: Floats


def split(world: World) -> Split:
    """Of each GPU, mean of the last `LATELY` seconds; shape (gpus,). Without word of contention, none is told."""
    points = max(1, round(LATELY / world.step))
    busy, contended = (_mean(values[:, -points:]) for values in (world.utilization, world.contended))
    busy = np.clip(busy, 0.0, 1.0)
    both = np.minimum(contended, busy)
    return Split(busy - np.nan_to_num(both), both, 1.0 - busy)


def contention(snapshot: Snapshot, victim: str = "", aggressor: str = "") -> Json:
    """All values of the page. `victim`, `aggressor`: the pair that is open, as `namespace/name`."""
    world = snapshot.world
    if world is None:
        return {"ready": False}
    found = pairs(world)
    listed = found[:MOST_PAIRS]
    names = sorted({str(who) for pair in listed for who in (pair.victim, pair.aggressor)})
    place = {name: i for i, name in enumerate(names)}
    warned = {(str(item.victim), str(item.aggressor)): item for item in open_incidents(snapshot) if item.aggressor}
    spent, serving = split(world), answering(world)
    return {
        "ready": True,
        "headline": headline(found, serving, warned) if world.gpus else "No GPU is known yet.",
        "services": [[name, service_colour(name)] for name in names],
        "victims": [place[str(who)] for who in worst_first(listed, "victim", serving)],
        "aggressors": [place[str(who)] for who in worst_first(listed, "aggressor", serving)],
        "jobs": sorted({place[str(pair.victim)] for pair in listed if pair.victim not in serving}),
        "pairs": [
            [
                place[str(pair.victim)],
                place[str(pair.aggressor)],
                pair.ratio,
                len(pair.gpus),
                (str(pair.victim), str(pair.aggressor)) in warned,
            ]
            for pair in listed
        ],
        "hidden": len(found) - len(listed),
        "gpus": ranked(world, spent),
        "groups": groups(world, spent),
        "tiers": tiers(world),
        "missing": [name for name in world.missing if "stalled" in name or "contended" in name],
        "pair": opened(snapshot, found, victim, aggressor) if victim or aggressor else None,
    }


def worst_first(
    found: Sequence[Pair], side: Literal["victim", "aggressor"], serving: Collection[Service]
) -> list[Service]:
    """One side of all pairs, by the longest wait of each: of those who answer requests, then of any.

    So who answers no requests comes after those who do, and who keeps only such jobs waiting after who keeps others.
    """
    longest: dict[Service, tuple[float, float]] = {}
    for pair in found:
        wait = UNKNOWN if pair.ratio is None else pair.ratio
        of_those, of_any = longest.get(who := getattr(pair, side), (NOBODY, NOBODY))
        longest[who] = max(of_those, wait if pair.victim in serving else NOBODY), max(of_any, wait)
    return sorted(longest, key=lambda who: (-longest[who][0], -longest[who][1], str(who)))


def headline(found: Sequence[Pair], serving: Collection[Service], warned: Collection[tuple[str, str]] = ()) -> str:
    """The worst pair as a sentence, of those that answer requests where one of them waits; or why there is none.

    warned: victim and aggressor of the pairs that are in an incident.
    """
    if not found:
        return "No two services share a GPU, so none can starve another."
    known = [pair for pair in found if pair.ratio is not None]
    if not known:
        return "Cannot tell: nothing says who waits for whom."
    waiting = [pair for pair in known if (pair.ratio or 0.0) >= WAITING]
    if not waiting:
        return f"No service waits for another: {count(len(found), 'pair')} share GPUs in peace."
    worst = next((pair for pair in waiting if pair.victim in serving), waiting[0])
    who = f"{worst.victim}{'' if worst.victim in serving else ', which answers no requests,'}"
    longest = f"{who} waits up to {percent(worst.ratio or 0.0)} of its time for {worst.aggressor}"
    wait = f"{len(waiting)} wait{'s' if len(waiting) == 1 else ''}"
    none = (
        "" if any((str(pair.victim), str(pair.aggressor)) in warned for pair in found) else "; none is in an incident"
    )
    more = f" Of {count(len(found), 'pair')} that share GPUs, {wait}{none}." if len(found) > 1 else ""
    return f"{longest} on {count(len(worst.gpus), 'GPU')}.{more}"


def ranked(world: World, spent: Split) -> list[Json]:
    """GPUs by how many services wait there times how long they do, the worst first; then those contended."""
    place, stalled = placed(world), newest(world.stalled)
    waiting = np.nan_to_num(stalled) >= WAITING
    count = len(world.gpus)
    waits = np.bincount(place.gpu[waiting], stalled[waiting], count)
    waiters = np.bincount(place.gpu[waiting], minlength=count)
    score = waits * waiters
    order = np.lexsort((np.arange(count), -np.nan_to_num(spent.contended), -score))[:MOST_GPUS].tolist()
    told = bool(np.isfinite(stalled).any())
    return [
        {
            "gpu": world.gpus[row].label,
            "pool": world.pool[row] if world.pool else "",
            "waiters": int(waiters[row]) if told else None,
            "wait": number(float(waits[row])) if told else None,
            **_shares(spent, np.array([row])),
            "services": _on(world, place.on(row).tolist()),
        }
        for row in order
    ]


def _on(world: World, rows: Sequence[int]) -> list[Json]:
    """Tenants of a GPU, the busiest first."""
    busy, stalled = newest(world.busy), newest(world.stalled)
    rows = sorted(rows, key=lambda row: (-np.nan_to_num(busy[row]), world.tenants[row].service))
    return [
        {
            "service": str(world.tenants[row].service),
            "busy": number(float(busy[row])),
            "stalled": number(float(stalled[row])),
        }
        for row in rows
    ]


def groups(world: World, spent: Split) -> Json:
    """What the time of each pool goes into; of each host, where nobody tells of pools. The most contended first."""
    by_pool = any(world.pool)
    rows: dict[str, list[int]] = {}
    for i, gpu in enumerate(world.gpus):
        rows.setdefault((world.pool[i] or "no pool") if by_pool else gpu.host, []).append(i)
    listed = [{"name": name, "gpus": len(those), **_shares(spent, np.array(those))} for name, those in rows.items()]
    listed.sort(key=lambda row: (-(row["contended"] or 0.0), str(row["name"])))
    return {"by": "pool" if by_pool else "host", "rows": listed[:MOST_GROUPS], "all": len(listed)}


def tiers(world: World) -> Json:
    """On how many GPUs of each pool each tier is; and how many of all carry more than one tier.

    `cells` has a row a tier: of each pool [GPUs, of these shared with another tier].
    """
    of, place = tier_of(world), placed(world)
    names = sorted({of.get(service, "") for service in place.services})
    places = sorted(set(world.pool)) if any(world.pool) else [""]
    pool = np.array([places.index(name) for name in world.pool] if any(world.pool) else [0] * len(world.gpus), np.int64)
    tier = np.array([names.index(of.get(service, "")) for service in place.services], np.int64)
    on = np.zeros((len(world.gpus), len(names)), bool)
    on[place.gpu, tier[place.service]] = True
    crowded = on.sum(axis=1) > 1
    cells = [[_counted(on[:, i] & (pool == where), crowded) for where in range(len(places))] for i in range(len(names))]
    return {
        "tiers": names,
        "pools": places,
        "cells": cells,
        "mixed": int(crowded.sum()),
        "configured": any(world.tier),
    }


def _counted(these: NDArray[np.bool_], crowded: NDArray[np.bool_]) -> list[int] | None:
    """How many GPUs, and how many of them carry another tier too; None for none."""
    return [int(these.sum()), int((these & crowded).sum())] if these.any() else None


def _shares(spent: Split, rows: NDArray[np.int64]) -> Json:
    """Mean over GPUs of what their time goes into."""
    return {name: number(float(_mean(values[rows][None])[0])) for name, values in spent._asdict().items()}


def _mean(values: Floats) -> Floats:
    """Of each row, NaN where nothing is known."""
    known = np.isfinite(values)
    count = np.where(known.any(axis=1), known.sum(axis=1), np.nan)
    return np.asarray(np.where(known, values, 0.0).sum(axis=1, dtype=np.float64) / count)
