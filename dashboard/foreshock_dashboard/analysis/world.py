"""Readings → World: name the rows, join them on the service, turn buckets into quantiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from foreshock_dashboard.analysis.cluster import capacity_of, deployments_of, workloads
from foreshock_dashboard.analysis.gpus import ON_GPUS, gpu_order, gpus_of
from foreshock_dashboard.analysis.hosts import network_of
from foreshock_dashboard.analysis.quantile import quantiles, stack
from foreshock_dashboard.analysis.rows import Key, Named, keys_of, rows_of, service_of, target_of, while_up
from foreshock_dashboard.analysis.serving import inference_of
from foreshock_dashboard.model.query import Floats, Matrix
from foreshock_dashboard.model.readings import Readings
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Red, Target, World

__all__ = ["condensed", "gpu_order", "world_of"]

BUCKETED = ("served_seconds", "client_seconds", "server_seconds", "first_token_seconds")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def world_of(readings: Readings, step: float, missing: tuple[str, ...] = ()) -> World:
    """Build the World from condensed readings. Pure; `step` is the grid's, in seconds.

    Services are all that serve, call, hold a GPU or answer for a model; deployments only where nothing else tells of
    services, for most of a cluster's are none of the platform's.
    """
    readings = {key: while_up(found, readings["up"]) if key in ON_GPUS else found for key, found in readings.items()}
    deployments = deployments_of(readings)
    on_gpus = gpus_of(readings, workloads(deployments))
    edges = keys_of([readings["calls"]], _edge)
    inference = inference_of(readings)
    named = {service for edge in edges if edge.connection != "virtual_node" for service in (edge.client, edge.server)}
    named |= {edge.server for edge in edges} | {who.service for who in on_gpus.tenants}
    named |= set(keys_of([readings["served"]], service_of)) | set(inference.services if inference else ())
    capacity = capacity_of(readings, named)
    services = sorted(named) or sorted(set(capacity.services if capacity else ()))
    calls = _red(readings, "calls", "client", edges, _edge)
    return World(
        times=readings["up"].times,
        step=step,
        services=tuple(services),
        red=_red(readings, "served", "served", services, service_of),
        edges=tuple(edges),
        calls=calls,
        server_p95=rows_of(readings["server_p95"], edges, _edge),
        attempts=_attempts(readings, edges, calls.rate),
        gpus=on_gpus.gpus,
        **on_gpus.figures,
        tenants=on_gpus.tenants,
        busy=on_gpus.busy,
        stalled=on_gpus.stalled,
        memory=on_gpus.memory,
        stalls=on_gpus.stalls,
        stalled_by=on_gpus.stalled_by,
        targets=_targets(readings["up"], on_gpus.targets),
        missing=missing,
        simulated=_simulated(readings["mock"]),
        inference=inference,
        capacity=capacity,
        network=network_of(readings),
        hardware=on_gpus.hardware,
        pool=on_gpus.pool,
        tier=_tiers(readings["tier"], services),
    )


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


def _edge(labels: Named) -> Edge | None:
    client = Service(labels.get("client_service_namespace", ""), labels.get("client", ""))
    server = Service(labels.get("server_service_namespace", ""), labels.get("server", ""))
    return Edge(client, server, labels.get("connection_type", "")) if client.name and server.name else None


def _red(
    readings: Readings, what: str, seconds: str, keys: Sequence[Key], key_of: Callable[[Named], Key | None]
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


def _targets(up: Matrix, ours: frozenset[tuple[str, str]]) -> tuple[Target, ...]:
    """The targets that give what is shown here; a fleet's Prometheus has many others."""
    found = []
    for labels, values in zip(up.labels, up.values, strict=True):
        job, instance = target_of(dict(labels))
        if (job, instance) not in ours and not job.startswith("foreshock"):
            continue
        seen = np.flatnonzero(~np.isnan(values))
        age = float(up.times[-1] - up.times[seen[-1]]) if len(seen) else None
        found.append(Target(instance, job, bool(values[seen[-1]] > 0) if len(seen) else None, age))
    return tuple(found)


def _tiers(told: Matrix, services: Sequence[Service]) -> tuple[str, ...]:
    named = [dict(labels) for labels in told.labels]
    tiers = {service_of(labels): labels.get("tier", "") for labels in named}
    return tuple(tiers.get(service, "") for service in services) if tiers else ()


def _simulated(mock: Matrix) -> bool:
    return bool(len(mock)) and bool(np.nansum(mock.values[:, -60:]) > 0)
