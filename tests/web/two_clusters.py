"""A platform in two clusters, of which one calls the other."""

from __future__ import annotations

from dataclasses import replace

from tests.web.worlds import contended, contention_incident, snapshot

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Operation, Tenant

IN_US = frozenset({"vllm-8b", "postgres"})


def placed(service: Service) -> Service:
    """A service in its cluster."""
    return Service("us//" if service.name in IN_US else "eu//shop", service.name)


def on(gpu: Gpu) -> Gpu:
    """A GPU in its cluster."""
    return replace(gpu, host=f"{'us' if gpu.host == 'host-2' else 'eu'}//{gpu.host}")


def fleet() -> Snapshot:
    """A platform in two clusters, of which one calls the other."""
    world = contended()
    incident = contention_incident(world)
    suspect = incident.suspect._replace(service=placed(Service("", "train-llm")), gpus=tuple(map(on, world.gpus[:2])))
    return snapshot(
        replace(
            world,
            services=tuple(map(placed, world.services)),
            edges=tuple(Edge(placed(edge.client), placed(edge.server), edge.connection) for edge in world.edges),
            gpus=tuple(map(on, world.gpus)),
            tenants=tuple(Tenant(on(tenant.gpu), placed(tenant.service)) for tenant in world.tenants),
            gpu_wait_pairs=tuple(
                GpuWaitPair(on(pair.gpu), placed(pair.affected), placed(pair.noisy_neighbor))
                for pair in world.gpu_wait_pairs
            ),
            operations=tuple(Operation(placed(one.service), one.name) for one in world.operations),
            targets=tuple(
                target._replace(instance=f"{'us' if 'host-2' in target.instance else 'eu'}//{target.instance}")
                for target in world.targets
            ),
        ),
        replace(incident, service=placed(incident.service), affected=(placed(incident.service),), suspect=suspect),
    )
