"""The capacity forecast under other traffic, with fewer hosts, or after a model moved to another pool."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from foreshock_dashboard.analysis.capacity.forecast import HIGHEST, first_shortages
from foreshock_dashboard.analysis.capacity.move import moved
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Subject
from foreshock_dashboard.model.capacity.move import Move

NO_LOSS: Mapping[Subject, float] = MappingProxyType({})
TRAFFIC_KINDS = (LoadKind.REQUESTS, LoadKind.TOKENS, LoadKind.KV_CACHE, LoadKind.QUEUE, LoadKind.GPU_BUSY)
"""Kinds that grow with traffic. Assigned GPUs do not, unless someone adds replicas."""


def what_if(
    forecast: CapacityForecast,
    traffic: float = 1.0,
    replicas_lost: Mapping[Subject, float] = NO_LOSS,
    move: Move | None = None,
) -> CapacityForecast:
    """The forecast with all traffic multiplied, with fewer replicas of services or GPUs of pools, and after a move.

    KV-cache usage of the remaining replicas rises as they take over the load of the lost ones. A queue is scaled like
    the others, which is a lower bound, because it grows faster near capacity. History stays as measured.

    Args:
        traffic: factor, above 0.
        replicas_lost: replicas or GPUs, by subject as in the forecast.

    Raises:
        ImpossibleMoveError: see `moved`.
    """
    after = moved(forecast, move) if move else forecast
    loads = tuple(_changed(load, traffic, replicas_lost.get(load.subject, 0.0)) for load in after.loads)
    measured = (replace(new, history=old.history) for new, old in zip(loads, forecast.loads, strict=True))
    return replace(forecast, loads=tuple(measured), shortages=first_shortages(loads))


def _changed(load: LoadForecast, traffic: float, lost: float) -> LoadForecast:
    factor = traffic if load.kind in TRAFFIC_KINDS else 1.0
    kept = max(0.0, load.replicas - lost) / load.replicas if lost and load.replicas > 0 else 1.0
    if math.isnan(kept):
        kept = 1.0
    ready = max(0.0, load.ready - lost)
    limit = HIGHEST.get(load.kind, np.inf)
    if load.kind is LoadKind.KV_CACHE and lost and load.ready > 0:  # a mean over the ready replicas
        factor = factor * load.ready / ready if ready else np.inf
    return replace(
        load,
        p10=np.minimum(load.p10 * factor, limit),
        p50=np.minimum(load.p50 * factor, limit),
        p90=np.minimum(load.p90 * factor, limit),
        history=np.minimum(load.history * factor, limit),
        capacity=load.capacity * kept,
        safe=load.safe * kept,
        replicas=load.replicas * kept,
        ready=ready,
    )
