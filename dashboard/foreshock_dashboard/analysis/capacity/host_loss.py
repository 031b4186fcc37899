"""What the loss of a host takes from services and GPU pools."""

from __future__ import annotations

from collections.abc import Mapping

from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu, World


def replicas_on(world: World, forecast: CapacityForecast, host: str) -> Mapping[Subject, float]:
    """Replicas of services, and GPUs of pools, on a host, by subject as in the forecast; none where it is 0.

    A service's replicas are its ready ones by the share of its GPUs that the host has.
    """
    gpus: dict[Service, set[Gpu]] = {}
    for tenant in world.tenants:
        gpus.setdefault(tenant.service, set()).add(tenant.gpu)
    in_pool = dict(zip(world.gpus, world.pool, strict=True)) if world.pool else {}
    found = {}
    for load in forecast.loads:
        service, pool = load.subject
        if service is None:
            lost = float(sum(gpu.host == host and name == pool for gpu, name in in_pool.items()))
        else:
            used = gpus.get(service, set())
            lost = load.ready * sum(gpu.host == host for gpu in used) / len(used) if used else 0.0
        if lost > 0:  # not where `ready` is unknown
            found[load.subject] = lost
    return found
