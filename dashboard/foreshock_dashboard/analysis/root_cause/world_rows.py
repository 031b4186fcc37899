"""Signals of services and calls from a World, so that a hub ranks root causes as `foreshock explain` does."""

from __future__ import annotations

from collections.abc import Sequence, Set

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import COUNT_SECONDS
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, SIGNAL_BY_NAME
from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow
from foreshock_dashboard.analysis.root_cause.signal_rows import Entity, SignalRow, calls_per_request, traffic_by_entity
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red, World

LATENCY, ERRORS, TRAFFIC = "latency_seconds", "error_ratio", "requests_per_second"
"""Names of the signals that pages show by other names."""
UNIT_SUFFIXES = {"ratio": "_ratio", "s": "_seconds"}
AVAILABILITY_SIGNALS = ("ready", "up")
MODEL_SERVER_SIGNALS = ("waiting", "cache", "preempted", "per_token")
"""Signals of model servers that rise with a fault of their own; load moves the others as well."""


def world_rows(world: World, column: int, window: AnalysisWindow, services: Set[Service]) -> list[SignalRow]:
    """Signals of some services at the grid points of a window that ends at `column`, with the requests behind them.

    Calls of all their clients count: they show whether a slow callee is slow for others as well.
    """
    seconds, columns = max(COUNT_SECONDS, world.step), slice(column + 1 - len(window.times), column + 1)
    rows: list[SignalRow] = []
    for i, service in enumerate(world.services):
        if service in services:
            rows += _requests(service, world.red, i, columns, seconds, "")
    for i, edge in enumerate(world.edges):
        if edge.connection == "virtual_node" or edge.client == edge.server or services.isdisjoint(edge[:2]):
            continue
        call = edge.client, edge.server
        rows += _requests(call, world.calls, i, columns, seconds, "client")
        counts = _known(world.calls.rate[i, columns] * seconds)
        if counts is not None and (served := _known(world.server_p95[i, columns])) is not None:
            rows.append(SignalRow(call, "latency", LATENCY, served, "p95", counts, "server"))
    for name in (*RESOURCE_SIGNALS, "ready", *MODEL_SERVER_SIGNALS):
        kind: SignalKind = "availability" if name in AVAILABILITY_SIGNALS else "resource"
        signal = SIGNAL_BY_NAME[name]
        metric = name + UNIT_SUFFIXES.get(signal.unit, "")
        values = signal.values(world, (slice(None), columns))
        for i, key in enumerate(signal.keys(world)):
            if key in services and isinstance(key, Service) and (known := _known(values[i])) is not None:
                rows.append(SignalRow(key, kind, metric, known))
    return rows + calls_per_request(traffic_by_entity(rows))


def _requests(entity: Entity, red: Red, row: int, columns: slice, seconds: float, side: str) -> Sequence[SignalRow]:
    """Latency, errors, and traffic of a service or of a call."""
    rate = _known(red.rate[row, columns])
    if rate is None:
        return ()
    counts = rate * seconds
    made = [SignalRow(entity, "traffic", TRAFFIC, rate, "", counts, side)]
    for name, values in (("p50", red.p50), ("p95", red.p95), ("p99", red.p99)):
        if (known := _known(values[row, columns])) is not None:
            made.append(SignalRow(entity, "latency", LATENCY, known, name, counts, side))
    if (error_rate := _known(red.error_rate[row, columns])) is not None:
        made.append(SignalRow(entity, "errors", ERRORS, error_rate, "", counts, side))
    return made


def _known(values: Floats) -> Floats | None:
    """Values as float64; None without any."""
    return values.astype(np.float64) if np.isfinite(values).any() else None
