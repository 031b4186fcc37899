"""Readings → World: name the rows, join them on the service, turn buckets into quantiles."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

import numpy as np

from foreshock_dashboard.analysis.quantile import quantiles, stack
from foreshock_dashboard.model.query import Floats, Matrix
from foreshock_dashboard.model.readings import Readings, service_at
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Gpu, Red, Stall, Target, Tenant, World

Key = TypeVar("Key", bound=Hashable)

BUCKETED = ("served_seconds", "client_seconds", "server_seconds")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
ON_GPUS = frozenset(
    {
        *("utilization", "contended", "memory_used", "memory_total", "power", "temperature"),
        *("busy", "stalled", "stalled_by", "memory"),
    }
)
"""Readings that an exporter gives, and that end with it."""


def rows_of(
    matrix: Matrix, keys: Sequence[Key], key_of: Callable[[dict[str, str]], Key | None], *, copies: bool = False
) -> Floats:
    """Arrange a matrix as one row per key; NaN where a key has no sample. Shape (keys, times).

    Series that share a key are summed, or, where they are `copies` of one thing (a host scraped by two jobs, or under
    another address than before), the first that has a sample counts. Series whose key is None or unknown are left out.
    """
    place = {key: i for i, key in enumerate(keys)}
    out = np.full((len(keys), len(matrix.times)), np.nan)
    for labels, values in zip(matrix.labels, matrix.values, strict=True):
        key = key_of(dict(labels))
        if key is not None and key in place:
            row = out[place[key]]
            more = row if copies else row + np.nan_to_num(values)
            out[place[key]] = np.where(np.isnan(row), values, more)
    return out


def _keys(matrices: Sequence[Matrix], key_of: Callable[[dict[str, str]], Key | None]) -> list[Key]:
    found = {key_of(dict(labels)) for matrix in matrices for labels in matrix.labels}
    return sorted((key for key in found if key is not None), key=repr)


def _target(labels: dict[str, str]) -> tuple[str, str]:
    return labels.get("job", ""), labels.get("instance", "")


def _hosts(host: Matrix) -> dict[tuple[str, str], str]:
    named = (dict(labels) for labels in host.labels)
    return {_target(labels): labels["host_name"] for labels in named if labels.get("host_name")}


def _gpus(readings: Readings) -> dict[tuple[str, str, str], Gpu]:
    """GPUs by (job, instance, uuid); the host's name is joined from target_info on (job, instance)."""
    hosts = _hosts(readings["host"])
    found = {}
    for labels in map(dict, readings["gpu"].labels):
        job, instance = _target(labels)
        host = hosts.get((job, instance), instance)
        uuid = labels.get("uuid", "")
        found[job, instance, uuid] = Gpu(host, labels.get("gpu", "?"), uuid, labels.get("model", ""))
    return found


def gpu_order(gpu: Gpu) -> tuple[str, int, str, str]:
    """Sort GPUs by host, then by index as a number."""
    return gpu.host, int(gpu.index) if gpu.index.isdigit() else 10**9, gpu.index, gpu.uuid


def _edge(labels: dict[str, str]) -> Edge | None:
    client = Service(labels.get("client_service_namespace", ""), labels.get("client", ""))
    server = Service(labels.get("server_service_namespace", ""), labels.get("server", ""))
    return Edge(client, server, labels.get("connection_type", "")) if client.name and server.name else None


def _service(labels: dict[str, str]) -> Service | None:
    service = service_at(labels)
    return service if service.name else None


def condensed(readings: Readings) -> Readings:
    """Turn every bucketed duration `x_seconds` into the quantiles `x_p50`, `x_p95` and `x_p99`, in seconds."""
    out = {key: matrix for key, matrix in readings.items() if key not in BUCKETED}
    for key in BUCKETED:
        buckets = readings[key]
        labels, bounds, counts = stack(buckets)
        answers = quantiles(bounds, counts, tuple(QUANTILES.values()))
        for name, rows in zip(QUANTILES, answers, strict=True):
            found = dict(zip(labels, rows, strict=True))
            out[f"{key.removesuffix('_seconds')}_{name}"] = Matrix.of(buckets.times, found)
    return out


def _red(
    readings: Readings, what: str, seconds: str, keys: Sequence[Key], key_of: Callable[[dict[str, str]], Key | None]
) -> Red:
    total = rows_of(readings[what], keys, key_of)
    errors = np.where(np.isnan(total), np.nan, np.nan_to_num(rows_of(readings[f"{what}_failed"], keys, key_of)))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(total > 0, np.minimum(errors / total, 1.0), np.nan)
    return Red(total, share, *(rows_of(readings[f"{seconds}_{name}"], keys, key_of) for name in QUANTILES))


def _attempts(readings: Readings, edges: Sequence[Edge], calls: Floats) -> Floats:
    """Attempts per call: one plus retries per first attempt. The retry counter knows no connection type."""
    pairs = [(edge.client, edge.server) for edge in edges]
    retries = rows_of(
        readings["retries"],
        sorted(set(pairs), key=repr),
        lambda labels: (edge.client, edge.server) if (edge := _edge(labels)) else None,
    )
    where = {pair: i for i, pair in enumerate(sorted(set(pairs), key=repr))}
    extra = np.nan_to_num(retries[[where[pair] for pair in pairs]]) if pairs else np.zeros_like(calls)
    with np.errstate(invalid="ignore", divide="ignore"):
        first = np.maximum(calls - extra, 1e-9)
        return np.where(calls > 0, 1 + extra / first, np.nan)


def _targets(up: Matrix, ours: set[tuple[str, str]]) -> tuple[Target, ...]:
    """The targets that give what is shown here; a fleet's Prometheus has many others."""
    found = []
    for labels, values in zip(up.labels, up.values, strict=True):
        job, instance = _target(dict(labels))
        if (job, instance) not in ours and not job.startswith("foreshock"):
            continue
        seen = np.flatnonzero(~np.isnan(values))
        age = float(up.times[-1] - up.times[seen[-1]]) if len(seen) else None
        found.append(Target(instance, job, bool(values[seen[-1]] > 0) if len(seen) else None, age))
    return tuple(found)


def _while_up(matrix: Matrix, up: Matrix) -> Matrix:
    """Without what rates still tell of a target after it went down: the window empties, the figure only fades."""
    down = {_target(dict(labels)): values == 0 for labels, values in zip(up.labels, up.values, strict=True)}
    rows = zip(matrix.labels, matrix.values, strict=True)
    never = np.zeros(len(matrix.times), dtype=bool)
    return Matrix.of(
        matrix.times,
        {labels: np.where(down.get(_target(dict(labels)), never), np.nan, values) for labels, values in rows},
    )


def _share(values: Floats) -> Floats:
    """A share of time: extrapolation may carry a rate a little past 1."""
    return np.minimum(values, 1.0)


def _simulated(mock: Matrix) -> bool:
    return bool(len(mock)) and bool(np.nansum(mock.values[:, -60:]) > 0)


def world_of(readings: Readings, step: float, missing: tuple[str, ...] = ()) -> World:
    """Build the World from condensed readings. Pure; `step` is the grid's, in seconds."""
    readings = {key: _while_up(found, readings["up"]) if key in ON_GPUS else found for key, found in readings.items()}
    by_place = _gpus(readings)
    gpus = sorted(set(by_place.values()), key=gpu_order)

    def gpu(labels: dict[str, str]) -> Gpu | None:
        return by_place.get((*_target(labels), labels.get("uuid", "")))

    def tenant(labels: dict[str, str]) -> Tenant | None:
        where, who = gpu(labels), _service(labels)
        return Tenant(where, who) if where and who else None

    def stall(labels: dict[str, str]) -> Stall | None:
        where, victim, aggressor = gpu(labels), _service(labels), service_at(labels, "by_")
        return Stall(where, victim, aggressor) if where and victim and aggressor.name else None

    tenants = _keys([readings["busy"], readings["memory"]], tenant)
    stalls = _keys([readings["stalled_by"]], stall)
    edges = _keys([readings["calls"]], _edge)
    named = {service for edge in edges if edge.connection != "virtual_node" for service in (edge.client, edge.server)}
    named |= {edge.server for edge in edges} | {who.service for who in tenants}
    named |= set(_keys([readings["served"]], _service))
    services = sorted(named)
    calls = _red(readings, "calls", "client", edges, _edge)
    return World(
        times=readings["up"].times,
        step=step,
        services=tuple(services),
        red=_red(readings, "served", "served", services, _service),
        edges=tuple(edges),
        calls=calls,
        server_p95=rows_of(readings["server_p95"], edges, _edge),
        attempts=_attempts(readings, edges, calls.rate),
        gpus=tuple(gpus),
        utilization=_share(rows_of(readings["utilization"], gpus, gpu, copies=True)),
        contended=_share(rows_of(readings["contended"], gpus, gpu, copies=True)),
        memory_used=rows_of(readings["memory_used"], gpus, gpu, copies=True),
        memory_total=rows_of(readings["memory_total"], gpus, gpu, copies=True),
        power=rows_of(readings["power"], gpus, gpu, copies=True),
        temperature=rows_of(readings["temperature"], gpus, gpu, copies=True),
        tenants=tuple(tenants),
        busy=_share(rows_of(readings["busy"], tenants, tenant, copies=True)),
        stalled=_share(rows_of(readings["stalled"], tenants, tenant, copies=True)),
        memory=rows_of(readings["memory"], tenants, tenant, copies=True),
        stalls=tuple(stalls),
        stalled_by=_share(rows_of(readings["stalled_by"], stalls, stall, copies=True)),
        targets=_targets(readings["up"], {(job, instance) for job, instance, _ in by_place}),
        missing=missing,
        simulated=_simulated(readings["mock"]),
    )
