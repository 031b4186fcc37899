"""What moving replicas of a service to another GPU pool takes from one pool and the other."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import LoadForecast, LoadKind, Subject
from foreshock_dashboard.model.capacity.move import Move


class ImpossibleMoveError(ValueError):
    """The service cannot move. The message says why."""


def moved(forecast: CapacityForecast, move: Move) -> CapacityForecast:
    """The forecast after a move, without new shortages. A replica is as fast, and uses as many GPUs, as before.

    The assigned GPUs, and the service's part of the busy ones, follow. Free GPUs of the old pool become room for its
    services, and what their autoscalers may start grows with it up to their maximum; in the new pool it shrinks with
    the room, and the maximum of the service that moves counts there. Where it stays in part, it keeps its old pool, and
    may grow there.

    Raises:
        ImpossibleMoveError: the service has no known replicas, GPUs per replica, or pool, or is in the pool already.
    """
    own = next((load for load in forecast.loads if load.subject.service == move.service), None)
    if own is None or not (own.ready > 0 and own.gpus_per_replica > 0 and own.subject.pool):
        raise ImpossibleMoveError(f"the replicas, GPUs, or pool of {move.service} are unknown")
    if own.subject.pool == move.pool:
        raise ImpossibleMoveError(f"{move.service} is in pool {move.pool} already")
    replicas = min(move.replicas, own.ready)
    gpus = {own.subject.pool: -replicas * own.gpus_per_replica, move.pool: replicas * own.gpus_per_replica}
    busy = forecast.load(own.subject, LoadKind.GPU_BUSY)
    pools = [load for load in forecast.loads if load.subject.service is None and load.room == load.room]
    free = {load.subject.pool: load.room - gpus.get(load.subject.pool, 0.0) for load in pools}
    loads = []
    for load in forecast.loads:
        if load.subject == own.subject:
            loads.append(_of_service(load, move, replicas, free.get(move.pool, math.nan)))
        elif load.subject.pool in gpus:
            left = free.get(load.subject.pool, math.nan)
            loads.append(_of_pool(load, gpus[load.subject.pool], left, busy, replicas / own.ready))
        else:
            loads.append(load)
    return replace(forecast, loads=tuple(loads))


def _of_service(load: LoadForecast, move: Move, replicas: float, free: float) -> LoadForecast:
    """The load of the service that moves. free: GPUs of the new pool that are free afterwards."""
    if replicas < load.ready:
        return _with_room(load, load.room + replicas)
    return _with_room(replace(load, subject=Subject(move.service, move.pool)), free / load.gpus_per_replica)


def _of_pool(load: LoadForecast, gpus: float, free: float, busy: LoadForecast | None, share: float) -> LoadForecast:
    """A load of a pool, or of another service there, after the pool got further GPUs in use, or fewer.

    free: GPUs of the pool that are free afterwards. busy: busy GPUs of the service that moves, of which `share` come or
    go.
    """
    if load.subject.service is not None:
        return _with_room(load, free / load.gpus_per_replica)
    load = replace(load, room=load.room - gpus)
    if load.kind is LoadKind.GPU_QUOTA:
        return replace(
            load,
            **{name: np.maximum(getattr(load, name) + gpus, 0.0) for name in ("p10", "p50", "p90", "history")},
        )
    if load.kind is LoadKind.GPU_BUSY and busy is not None and len(busy.history) == len(load.history):
        sign = math.copysign(share, gpus)
        return replace(
            load,
            **{
                name: np.maximum(getattr(load, name) + sign * getattr(busy, name), 0.0)
                for name in ("p10", "p50", "p90", "history")
            },
        )
    return load


def _with_room(load: LoadForecast, room: float) -> LoadForecast:
    """The load of a service with room for so many further replicas, which bounds what the autoscaler may start.

    Where its maximum is unknown, it is what it was.
    """
    if math.isnan(room):
        return replace(load, room=room)
    room = max(0.0, math.floor(room))
    most = load.replicas if math.isnan(load.max_replicas) else load.max_replicas
    replicas = max(load.ready, min(most, load.ready + room))
    kept = replicas / load.replicas if load.replicas > 0 else 1.0
    return replace(load, room=room, replicas=replicas, capacity=load.capacity * kept, safe=load.safe * kept)
