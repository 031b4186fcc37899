"""Signals of services and calls from a World, so that a hub ranks root causes as `foreshock explain` does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import COUNT_SECONDS
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, SIGNAL_BY_NAME
from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow
from foreshock_dashboard.analysis.root_cause.signal_rows import Entity, SignalRow, calls_per_request, traffic_by_entity
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Red, World

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
    chosen = {i: service for i, service in enumerate(world.services) if service in services}
    rows = [row for made in _requests(chosen, world.red, columns, seconds, "") for row in made]
    calls = {i: (edge.client, edge.server) for i, edge in enumerate(world.edges) if _is_call(edge, services)}
    served = _known(world.server_p95, calls, columns)
    made = _requests(calls, world.calls, columns, seconds, "client")
    for call, of_client, p95 in zip(calls.values(), made, served, strict=True):
        rows += of_client
        if of_client and p95 is not None:
            rows.append(SignalRow(call, "latency", LATENCY, p95, "p95", of_client[0].counts, "server"))
    for name in (*RESOURCE_SIGNALS, "ready", *MODEL_SERVER_SIGNALS):
        kind: SignalKind = "availability" if name in AVAILABILITY_SIGNALS else "resource"
        signal = SIGNAL_BY_NAME[name]
        metric = name + UNIT_SUFFIXES.get(signal.unit, "")
        keys = {i: key for i, key in enumerate(signal.keys(world)) if isinstance(key, Service) and key in services}
        values = signal.values(world, (slice(None), columns))
        for key, known in zip(keys.values(), _known(values, keys), strict=True):
            if known is not None:
                rows.append(SignalRow(key, kind, metric, known))
    return rows + calls_per_request(traffic_by_entity(rows))


def _is_call(edge: Edge, services: Set[Service]) -> bool:
    """Whether an edge is between two services, one of which is among some."""
    return edge.connection != "virtual_node" and edge.client != edge.server and not services.isdisjoint(edge[:2])


def _requests(
    entities: Mapping[int, Entity], red: Red, columns: slice, seconds: float, side: str
) -> Iterator[Sequence[SignalRow]]:
    """Latency, errors, and traffic of each of some services or calls. entities: by row of `red`."""
    signals = (red.rate, red.p50, red.p95, red.p99, red.error_rate)
    known = [_known(values, entities, columns) for values in signals]
    numbers = red.rate[[*entities], columns] * seconds
    for entity, counts, rate, p50, p95, p99, error_rate in zip(entities.values(), numbers, *known, strict=True):
        made: list[SignalRow] = []
        if rate is not None:
            made.append(SignalRow(entity, "traffic", TRAFFIC, rate, "", counts, side))
            for name, latency in (("p50", p50), ("p95", p95), ("p99", p99)):
                if latency is not None:
                    made.append(SignalRow(entity, "latency", LATENCY, latency, name, counts, side))
            if error_rate is not None:
                made.append(SignalRow(entity, "errors", ERRORS, error_rate, "", counts, side))
        yield made


def _known(values: Floats, chosen: Iterable[int], columns: slice = slice(None)) -> Sequence[Floats | None]:
    """The chosen rows, as views where they are many; None for one without any value."""
    rows = [*chosen]
    if len(rows) < len(values) // 4:
        values, rows, columns = values[rows, columns], [*range(len(rows))], slice(None)
    is_missing = np.isnan(np.fmax.reduce(values[:, columns], axis=1, initial=np.nan)).tolist()
    return [None if is_missing[row] else values[row, columns] for row in rows]
