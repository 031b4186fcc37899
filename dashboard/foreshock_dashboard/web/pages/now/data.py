"""Payloads of the Now page: identities once (topology), values on every tick (now)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Sequence

import numpy as np

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Floats, Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.charts.theme import service_colour
from foreshock_dashboard.web.pages.now.verdict import verdict
from foreshock_dashboard.web.panels.service_map import service_map
from foreshock_dashboard.web.panels.timeline import hits, picked, timeline, window
from foreshock_dashboard.web.panels.vitals import SPARK, vitals
from foreshock_dashboard.web.state.conditions import conditions, open_incidents, pairs
from foreshock_dashboard.web.state.course_cache import followed
from foreshock_dashboard.web.state.freshness import answering, untold
from foreshock_dashboard.web.state.incident_json import incident
from foreshock_dashboard.web.state.numbers import last
from foreshock_dashboard.web.state.stages import Course

LEAST_ROWS, MOST_ROWS = 5, 8
"""Services on the page, the most affected first; all of them are on a page of their own."""
MOST_PAIRS = 6
"""Rows and columns of the matrix on the page; the rest is on the page of contention."""
MOST_TENANTS = 4000
"""Services on GPUs whose shares the page has; of more, Fleet has those of the GPU that is open."""
SPARK_POINTS = 45
SPARK_RANGE = 900.0
"""Seconds that a sparkline covers."""
ABSENT = 255
UNIT = 250
"""Ratios travel as one byte: 0…250 for 0…1, 255 where there is no value."""


def packed(ratios: Floats) -> str:
    """The newest column as base64 of one byte a row."""
    if ratios.shape[1] == 0:
        return ""
    column = ratios[:, -1]
    bytes_ = np.where(np.isnan(column), ABSENT, np.round(np.clip(np.nan_to_num(column), 0, 1) * UNIT))
    return base64.b64encode(bytes_.astype(np.uint8).tobytes()).decode()


def topology(world: World | None) -> Json:
    """Who and what there is. `id` names this state of it; indexes in the payload of `now` point into these lists."""
    if world is None:
        body: Json = {"services": [], "hosts": [], "pools": _pools(()), "tenants": [], "map": service_map(None)}
    else:
        index = {service: i for i, service in enumerate(world.services)}
        place = {gpu: i for i, gpu in enumerate(world.gpus)}
        hosts: dict[str, list[list[str]]] = {}
        for gpu in world.gpus:
            hosts.setdefault(gpu.host, []).append([gpu.index, gpu.uuid, gpu.model])
        body = {
            "services": [{"id": str(service), "colour": service_colour(str(service))} for service in world.services],
            "hosts": [{"name": name, "gpus": listed} for name, listed in hosts.items()],
            "pools": _pools(world.pool),
            "tenants": [[place[who.gpu], index[who.service]] for who in world.tenants],
            "map": service_map(world),
        }
    digest = hashlib.blake2s(json.dumps(body, sort_keys=True).encode(), digest_size=8).hexdigest()
    return {"id": digest} | body


def _tenants(world: World) -> Json:
    """What each service has of each GPU; of a large platform nothing, for it would be most of a refresh."""
    if len(world.tenants) > MOST_TENANTS:
        return {"busy": "", "stalled": ""}
    return {"busy": packed(world.busy), "stalled": packed(world.stalled)}


def _pools(told: Sequence[str]) -> Json:
    """The pools, and which of them each GPU belongs to; both empty where nobody tells."""
    names = sorted(set(told)) if any(told) else []
    place = {name: i for i, name in enumerate(names)}
    return {"names": names, "of": [place[name] for name in told] if names else []}


def now(snapshot: Snapshot, topology_id: str, time: float | None = None) -> Json:
    """All values that the Now page shows. `time`: the hub's, Unix seconds; the World's own unless given."""
    world = snapshot.world
    said = verdict(snapshot, time)
    chosen = picked(snapshot)
    body: Json = {
        "topology": topology_id,
        "verdict": said.payload(),
        "warnings": [incident(item) for item in open_incidents(snapshot)],
        "over": [incident(item) for item in snapshot.incidents if item.phase == "over"][:5],
    }
    if world is None:
        return body | {"ready": False}
    place = {gpu: i for i, gpu in enumerate(world.gpus)}
    start = window(world, chosen)
    fared = followed(snapshot, world, chosen.onset, min(start, world.time - SPARK))
    rows = ranked(service_rows(snapshot, fared), {str(item.victim) for item in open_incidents(snapshot)})
    lines = {str(service): row for service, row in zip(world.services, world.red.p95, strict=True)}
    shown = min(len(rows), max(LEAST_ROWS, min(MOST_ROWS, sum(map(_affected, rows)))))
    return body | {
        "ready": True,
        "step": world.step,
        "figures": vitals(snapshot, fared, blind=said.state == "blind"),
        "matrix": matrix(world),
        "timeline": timeline(world, start, fared, chosen, order=hits(snapshot, world, chosen, fared, start)),
        "services": [row | {"spark": spark(world, lines[row["id"]])} for row in rows[:shown]],
        "hidden": len(rows) - shown,
        "gpus": {"busy": packed(world.utilization), "contended": packed(world.contended)},
        "tenants": _tenants(world),
        "marked": sorted({place[gpu] for item in open_incidents(snapshot) for gpu in item.gpus if gpu in place}),
        "missing": list(world.missing),
        "untold": untold(snapshot),
    }


WAITING = 0.005
"""Share of time from which a wait is worth a line."""


def matrix(world: World) -> Json:
    """Victims as rows, aggressors as columns; the pairs with the longest waits where there are more than fit.

    Who answers requests comes before who does not. Where somebody waits, pairs that share a GPU in peace are left out.
    """
    shared, serving = pairs(world), answering(world)
    listed = [pair for pair in shared if pair.ratio is None or pair.ratio >= WAITING] or list(shared)
    listed.sort(key=lambda pair: pair.victim not in serving)
    victims = list(dict.fromkeys(pair.victim for pair in listed))
    aggressors = list(dict.fromkeys(pair.aggressor for pair in listed))
    rows, columns = victims[:MOST_PAIRS], aggressors[:MOST_PAIRS]
    row_of, column_of = ({who: i for i, who in enumerate(named)} for named in (rows, columns))
    cells: list[list[Json | None]] = [[None] * len(columns) for _ in rows]
    for pair in listed:
        if (row := row_of.get(pair.victim)) is not None and (column := column_of.get(pair.aggressor)) is not None:
            cells[row][column] = {"ratio": pair.ratio, "gpus": [gpu.label for gpu, _ in pair.gpus]}
    return {
        "victims": [str(who) for who in rows],
        "jobs": [str(who) for who in rows if who not in serving],
        "aggressors": [str(who) for who in columns],
        "cells": cells,
        "hidden": max(len(victims) - len(rows), len(aggressors) - len(columns)),
    }


def service_rows(snapshot: Snapshot, fared: Course) -> list[Json]:
    """Every service with its figures, its condition and its stage; in the World's order.

    One that what was followed does not know, such as one that came after it was read, has no stage.
    """
    world = snapshot.world
    if world is None:
        return []
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p50, world.red.p95, world.red.p99)]
    state = conditions(snapshot)
    stages = fared.now()
    return [
        {
            "id": str(service),
            "health": state[service].health,
            "word": state[service].word,
            "stage": stages.get(service),
            "rate": rate,
            "failed": failed,
            "p50": p50,
            "p95": p95,
            "p99": p99,
        }
        for service, rate, failed, p50, p95, p99 in zip(world.services, *red, strict=True)
    ]


def _affected(row: Json) -> bool:
    return row["health"] in ("critical", "warning", "unknown") or row["stage"] not in (None, "calm")


def ranked(rows: list[Json], victims: Collection[str] = ()) -> list[Json]:
    """The most affected first: by stage, then by condition, then incidents' victims, then by failed requests."""
    stages = {"failing": 0, "degraded": 1, "early": 2}
    health = {"critical": 0, "warning": 1, "unknown": 2, "ok": 3, "idle": 4}
    return sorted(
        rows,
        key=lambda row: (
            stages.get(row["stage"], 3),
            health[row["health"]],
            row["id"] not in victims,
            -(row["failed"] or 0.0),
            row["id"],
        ),
    )


def spark(world: World, row: Floats) -> list[float | None]:
    """The last quarter of an hour of a row in at most `SPARK_POINTS` points, each the largest of its stretch."""
    points = row[-max(1, round(SPARK_RANGE / world.step)) :]
    size = max(1, -(-len(points) // SPARK_POINTS))
    padded = np.concatenate([np.full(-len(points) % size, np.nan), points]).reshape(-1, size)
    filled = np.where(np.isnan(padded), -np.inf, padded).max(axis=1)
    return [None if value == -np.inf else float(f"{value:.3g}") for value in filled.tolist()]
