"""Freshness of data at the newest points of a World: missing data must not look healthy."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Bools, Floats
from foreshock_dashboard.model.world import Gpu, Target, World
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.units import minutes_of
from foreshock_dashboard.render.words.panels import EMPTY, HISTORY_BEING_READ
from foreshock_dashboard.render.words.status import DATA_STATES
from foreshock_dashboard.web.state.numbers import newest
from foreshock_dashboard.web.state.placement import Rows, placement

FRESH_SECONDS = 60.0
"""Age up to which data is fresh, unless `FRESH_POINTS` points of the grid take longer."""
FRESH_POINTS = 3


@dataclass(frozen=True, slots=True)
class Freshness:
    """The objects without fresh data, in the World's order; `gpus` and `services` count those with fresh data.

    no_data: the kind of data that is required and missing: "GPU", "service", "GPU or service", or "". since: Unix
    seconds of its last data, None where the World has none.
    """

    gpus: int
    services: int
    stale_gpus: tuple[Gpu, ...]
    stale_services: tuple[Service, ...]
    stale_targets: tuple[Target, ...]
    no_data: str
    since: float | None


def fresh_seconds(step: float) -> float:
    """Age in seconds up to which data is fresh on a grid of `step` seconds."""
    return max(FRESH_SECONDS, FRESH_POINTS * step)


def freshness(world: World) -> Freshness:
    """The freshness of a World's data.

    A GPU needs figures of its time. A service that ever reported requests has to keep reporting them; another one, such
    as a batch job, is seen on its GPUs and by its callers. Contention is judged on the services with requests.
    """
    fresh = _fresh_columns(world.step)
    on_gpus, by_service = _gpus_seen(world, fresh), _services_seen(world)
    gpus, services = _rows(on_gpus), _rows(by_service[:, fresh])
    served = _rows(np.isfinite(world.red.p95))
    judged = by_service[served] if served.any() else by_service
    lost = {}
    if not gpus.any():
        lost["GPU"] = _gpus_seen(world, slice(None))
    if not judged[:, fresh].any():
        lost["service"] = judged
    return Freshness(
        gpus=int(gpus.sum()),
        services=int(services.sum()),
        stale_gpus=tuple(gpu for gpu, fresh in zip(world.gpus, gpus, strict=True) if not fresh),
        stale_services=tuple(service for service, fresh in zip(world.services, services, strict=True) if not fresh),
        stale_targets=tuple(target for target in world.targets if is_stale(target, world.step)),
        no_data=" or ".join(lost),
        since=max((float(world.times[seen.any(axis=0)][-1]) for seen in lost.values() if seen.any()), default=None),
    )


def why_unknown(snapshot: Snapshot) -> str:
    """The reason why degraded services cannot be recognized; "" where they can."""
    world = snapshot.world
    if world is None:
        return EMPTY["first_evaluation"]
    if not world.services:
        return EMPTY["services"]
    if "service" in freshness(world).no_data:
        return filled_text(DATA_STATES["no_fresh"], kind="service")
    if snapshot.is_preview:
        return HISTORY_BEING_READ
    if not snapshot.learning.done:
        return filled_text(DATA_STATES["learning"], progress=minutes_of(*snapshot.learning))
    return ""


def fresh_services(world: World) -> Bools:
    """Flags of the services with fresh data. Shape (services,)."""
    return _rows(_services_seen(world)[:, _fresh_columns(world.step)])


def _fresh_columns(step: float) -> slice:
    return slice(-math.ceil(fresh_seconds(step) / step), None)


def serving_services(world: World) -> frozenset[Service]:
    """Services with requests. The others, such as batch jobs, may wait for GPUs all day without harm."""
    return frozenset(world.services[row] for row in np.flatnonzero(_rows(np.isfinite(world.red.p95))).tolist())


def serving_wait(world: World) -> Floats:
    """The longest GPU wait of a service with requests on each GPU, as a share of time, newest; NaN if unknown.

    Shape (gpus,). How long a GPU is contended says less: a GPU that is always shared is so while nothing is wrong.
    """
    on, longest, serving = placement(world), np.full(len(world.gpus), np.nan), serving_services(world)
    serves = np.array([service in serving for service in on.services], bool)[on.service]
    np.fmax.at(longest, on.gpu[serves], newest(world.gpu_wait)[serves])
    return longest


def is_stale(target: Target, step: float) -> bool:
    """Whether a target is down, or was scraped too long ago."""
    return target.up is not True or target.age is None or target.age > fresh_seconds(step)


def _rows(seen: Bools) -> Bools:
    return np.asarray(seen.any(axis=1))


def _gpus_seen(world: World, columns: slice) -> Bools:
    """Where a GPU's time is known. Shape (gpus, points)."""
    seen: Bools = np.isfinite(world.utilization[:, columns]) | np.isfinite(world.contended[:, columns])
    shared = np.isfinite(world.busy[:, columns]) | np.isfinite(world.gpu_wait[:, columns])
    return seen | _any(placement(world).gpu, shared, len(seen))


def _services_seen(world: World) -> Bools:
    """Where something is known of a service. Shape (services, times).

    That is its latency, or that it had no requests; for services that never reported, the reports of others.
    """
    seen: Bools = np.isfinite(world.red.p95) | (world.red.rate == 0)
    never = ~_rows(seen)[:, None]
    return seen | (never & _seen_by_others(world)) if never.any() else seen


def _seen_by_others(world: World) -> Bools:
    """Where a service is seen on a GPU or on a call. Shape (services, times)."""
    place = {service: i for i, service in enumerate(world.services)}
    on, services = placement(world), len(world.services)
    known = np.array([place.get(service, services) for service in on.services], np.int64)  # one row more: others
    on_gpus = np.isfinite(world.busy) | np.isfinite(world.gpu_wait) | np.isfinite(world.memory)
    seen = _any(known[on.service], on_gpus, services + 1)[:services]
    for edge, row in zip(world.edges, np.isfinite(world.calls.rate), strict=True):
        for end in {edge.client, edge.server} & place.keys():
            seen[place[end]] |= row
    return seen


def _any(rows: Rows, flags: Bools, count: int) -> Bools:
    """Whether any of the flags of each of `count` rows is set. Shapes (flags, points), (count, points)."""
    found = np.zeros((count, flags.shape[1]), np.bool_)
    for point, column in enumerate(flags.T):
        found[rows[column], point] = True
    return found
