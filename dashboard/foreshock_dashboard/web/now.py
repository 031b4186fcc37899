"""Payloads of the Now page: identities once (topology), values on every tick (now)."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence

import numpy as np

from foreshock_dashboard.model.query import Floats, Json
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.incident_json import incident
from foreshock_dashboard.web.layout import Arrow, layered
from foreshock_dashboard.web.numbers import last, number
from foreshock_dashboard.web.payloads import conditions, open_incidents, pairs
from foreshock_dashboard.web.sight import sight
from foreshock_dashboard.web.theme import service_colour
from foreshock_dashboard.web.verdict import verdict

MOST_NODES = 60
"""Nodes of the service map; beyond that no picture of a graph can be read."""
MOST_ROWS = 100
"""Services on the page: all of the map and then the worst of the others; the rest is in /api/services."""
MOST_PAIRS = 8
"""Rows and columns of the matrix on the page; the rest is in /api/contention."""
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
        body: Json = {"services": [], "hosts": [], "tenants": [], "map": _map(None)}
    else:
        index = {service: i for i, service in enumerate(world.services)}
        place = {gpu: i for i, gpu in enumerate(world.gpus)}
        hosts: dict[str, list[list[str]]] = {}
        for gpu in world.gpus:
            hosts.setdefault(gpu.host, []).append([gpu.index, gpu.uuid, gpu.model])
        body = {
            "services": [{"id": str(service), "colour": service_colour(str(service))} for service in world.services],
            "hosts": [{"name": name, "gpus": listed} for name, listed in hosts.items()],
            "tenants": [[place[who.gpu], index[who.service]] for who in world.tenants],
            "map": _map(world),
        }
    digest = hashlib.blake2s(json.dumps(body, sort_keys=True).encode(), digest_size=8).hexdigest()
    return {"id": digest} | body


def _map(world: World | None) -> Json:
    if world is None:
        return {"nodes": [], "edges": [], "heights": [], "hidden": 0}
    kinds = _kinds(world)
    shown = _shown(world, list(kinds))
    arrows = [Arrow(str(edge.client), str(edge.server)) for edge in world.edges]
    picture = layered(shown, arrows, _beside(world))
    connection = {(str(edge.client), str(edge.server)): edge.connection for edge in world.edges}
    return {
        "nodes": [
            {"id": node, "kind": kinds[node], "colour": service_colour(node), "column": place.column, "row": place.row}
            for node, place in picture.places.items()
        ],
        "edges": [
            {
                "client": route.client,
                "server": route.server,
                "connection": connection[route.client, route.server],
                "points": [list(point) for point in route.points],
                "back": route.back,
            }
            for route in picture.routes
        ],
        "heights": list(picture.heights),
        "hidden": len(kinds) - len(shown),
    }


def _kinds(world: World) -> dict[str, str]:
    """Every node of the map: a service, a database, or a caller from outside."""
    kinds = {str(service): "service" for service in world.services}
    for edge in world.edges:
        if edge.connection == "virtual_node" and edge.client not in world.services:
            kinds[str(edge.client)] = "outside"
        if edge.connection == "database":
            kinds[str(edge.server)] = "database"
    for edge in world.edges:
        kinds.setdefault(str(edge.client), "service")
        kinds.setdefault(str(edge.server), "service")
    return kinds


def _shown(world: World, nodes: Sequence[str]) -> list[str]:
    """The nodes of the map: those that share GPUs and those with the most edges, as many as can be read.

    Identity alone decides, not the load, so that the map does not jump.
    """
    if len(nodes) <= MOST_NODES:
        return list(nodes)
    sharing = {str(who) for stall in world.stalls for who in (stall.victim, stall.aggressor)}
    degree: dict[str, int] = {}
    for edge in world.edges:
        for end in (str(edge.client), str(edge.server)):
            degree[end] = degree.get(end, 0) + 1
    placed = [node for node in nodes if node in sharing or node in degree]
    ranked = sorted(placed, key=lambda node: (node not in sharing, -degree.get(node, 0), node))
    return ranked[:MOST_NODES]


def _beside(world: World) -> dict[str, str]:
    """For every service, a service with calls that it shares a GPU with; a batch job then stands below its victim."""
    linked = {end for edge in world.edges for end in (edge.client, edge.server)}
    shared: dict[Service, dict[Service, int]] = {}
    for stall in world.stalls:
        if stall.victim in linked:
            count = shared.setdefault(stall.aggressor, {})
            count[stall.victim] = count.get(stall.victim, 0) + 1
    return {
        str(who): str(min(count, key=lambda other, count=count: (-count[other], other)))  # type: ignore[misc]  # as above
        for who, count in shared.items()
    }


def now(snapshot: Snapshot, topology_id: str, time: float | None = None) -> Json:
    """All values that the Now page shows. `time`: the hub's, Unix seconds; the World's own unless given."""
    world = snapshot.world
    said = verdict(snapshot, time)
    body: Json = {
        "topology": topology_id,
        "verdict": said.payload(),
        "warnings": [incident(item) for item in open_incidents(snapshot)],
        "over": [incident(item) for item in snapshot.incidents if item.phase == "over"][:5],
    }
    if world is None:
        return body | {"ready": False}
    place = {gpu: i for i, gpu in enumerate(world.gpus)}
    return body | {
        "ready": True,
        "step": world.step,
        "figures": figures(snapshot, blind=said.state == "blind"),
        "matrix": matrix(world),
        "services": _services(snapshot),
        "hidden": max(0, len(world.services) - MOST_ROWS),
        "edges": _edges(world),
        "gpus": {"busy": packed(world.utilization), "contended": packed(world.contended)},
        "tenants": {"busy": packed(world.busy), "stalled": packed(world.stalled)},
        "marked": sorted({place[gpu] for item in open_incidents(snapshot) for gpu in item.gpus if gpu in place}),
        "missing": list(world.missing),
    }


def figures(snapshot: Snapshot, blind: bool = False) -> list[Json]:
    """The few numbers under the verdict. `value` None where nothing is known; `blind`: nor is who starves."""
    world = snapshot.world
    if world is None:
        return []
    starved = {item.victim for item in open_incidents(snapshot)}
    contended = [value for value in last(world.contended) if value is not None]
    worst = max((pair.ratio for pair in pairs(world) if pair.ratio is not None), default=None)
    rate = last(world.red.rate)
    failed = [
        share * count
        for share, count in zip(last(world.red.failed), rate, strict=True)
        if share is not None and count is not None
    ]
    total = sum(value for value in rate if value is not None)
    attempts = [value for value in last(world.attempts) if value is not None]
    return [
        {
            "name": "Services starved",
            "value": None if blind else len(starved),
            "of": sight(world).services,
            "unit": "count",
        },
        {
            "name": "GPUs contended",
            "value": sum(value >= 0.1 for value in contended) if contended else None,
            "of": len(contended),
            "unit": "count",
        },
        {"name": "Longest wait for a GPU", "value": worst, "unit": "ratio"},
        {"name": "Failed requests", "value": number(sum(failed) / total) if total else None, "unit": "ratio"},
        {"name": "Most retries on a call", "value": max(attempts) - 1 if attempts else None, "unit": "per call"},
    ]


WAITING = 0.005
"""Share of time from which a wait is worth a line."""


def matrix(world: World) -> Json:
    """Victims as rows, aggressors as columns; the pairs with the longest waits where there are more than fit.

    Where somebody waits, pairs that share a GPU in peace are left out.
    """
    shared = pairs(world)
    listed = [pair for pair in shared if pair.ratio is None or pair.ratio >= WAITING] or shared
    victims = list(dict.fromkeys(pair.victim for pair in listed))
    aggressors = list(dict.fromkeys(pair.aggressor for pair in listed))
    rows, columns = victims[:MOST_PAIRS], aggressors[:MOST_PAIRS]
    by_pair = {(pair.victim, pair.aggressor): pair for pair in listed}
    return {
        "victims": [str(who) for who in rows],
        "aggressors": [str(who) for who in columns],
        "cells": [
            [
                {"ratio": pair.ratio, "gpus": [gpu.label for gpu, _ in pair.gpus]}
                if (pair := by_pair.get((row, column)))
                else None
                for column in columns
            ]
            for row in rows
        ],
        "hidden": max(len(victims) - len(rows), len(aggressors) - len(columns)),
    }


def _services(snapshot: Snapshot) -> list[Json]:
    world = snapshot.world
    if world is None:
        return []
    red = [last(values) for values in (world.red.rate, world.red.failed, world.red.p50, world.red.p95, world.red.p99)]
    attempts: dict[Service, float] = {}
    for edge, value in zip(world.edges, last(world.attempts), strict=True):
        if value is not None:
            attempts[edge.server] = max(value, attempts.get(edge.server, value))
    state = conditions(snapshot)
    rows = [
        {
            "id": str(service),
            "health": state[service].health,
            "word": state[service].word,
            "rate": rate,
            "failed": failed,
            "p50": p50,
            "p95": p95,
            "p99": p99,
            "attempts": attempts.get(service),
            "spark": spark(world, world.red.p95[i]),
        }
        for i, (service, rate, failed, p50, p95, p99) in enumerate(zip(world.services, *red, strict=True))
    ]
    if len(rows) <= MOST_ROWS:
        return rows
    drawn = set(_shown(world, list(_kinds(world))))
    grave = {"critical": 0, "warning": 1, "unknown": 2, "ok": 3, "idle": 4}
    rows.sort(key=lambda row: (row["id"] not in drawn, grave[str(row["health"])], str(row["id"])))
    return rows[:MOST_ROWS]


def spark(world: World, row: Floats) -> list[float | None]:
    """The last quarter of an hour of a row in at most `SPARK_POINTS` points, each the largest of its stretch."""
    points = row[-max(1, round(SPARK_RANGE / world.step)) :]
    size = max(1, -(-len(points) // SPARK_POINTS))
    padded = np.concatenate([np.full(-len(points) % size, np.nan), points]).reshape(-1, size)
    filled = np.where(np.isnan(padded), -np.inf, padded).max(axis=1)
    return [None if value == -np.inf else float(f"{value:.3g}") for value in filled.tolist()]


def _edges(world: World) -> list[list[float | str | None]]:
    """client, server, requests/s, failed share, p95 in seconds, attempts per call."""
    columns = (last(world.calls.rate), last(world.calls.failed), last(world.calls.p95), last(world.attempts))
    return [
        [str(edge.client), str(edge.server), *row]
        for edge, row in zip(world.edges, zip(*columns, strict=True), strict=True)
    ]
