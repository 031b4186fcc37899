"""A platform that runs: all parts of its specification on one clock."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.control.autoscaler import Autoscaler
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.host import Host
from foreshock_simulator.network.network import Network
from foreshock_simulator.spec.faults import Fault
from foreshock_simulator.spec.hosts import PoolSpec
from foreshock_simulator.spec.scenario import PlatformSpec
from foreshock_simulator.world.flows import begin_flows
from foreshock_simulator.world.replicas import Replicas
from foreshock_simulator.world.tenants import Tenants

OUTSIDE = "outside"
"""A host that is nobody's: where bulk transfers come from that fill a service's interfaces."""
OUTSIDE_BYTES = 400e9


class Platform:
    """Hosts, network, pools, services with their replicas and autoscalers, tenants.

    Args:
        spec: of all that.
        seed: of all chance.
        start: Unix seconds at the engine's 0.
        sample: share of the traces whose spans are kept.
        count: whether all spans are counted as well.

    Raises:
        ValueError: the parts do not fit together; what `scenarios.load` gives does.
    """

    def __init__(
        self, spec: PlatformSpec, seed: int, start: float, *, sample: float = 1.0, count: bool = False
    ) -> None:
        self.spec, self.engine = spec, Engine()
        engine = self.engine
        self.network = Network(engine, random_stream(seed, "network"))
        pools = _pools_by_host(spec.pools)
        self.hosts: dict[str, Host] = {}
        for host in spec.hosts:
            self.network.add(host.name, host.nic_bytes_per_second)
            self.hosts[host.name] = Host(engine, host, pools.get(host.name))
        self.network.add(OUTSIDE, OUTSIDE_BYTES)
        self.capacity = Capacity(engine, spec.pools, random_stream(seed, "capacity"))
        self.mesh = Mesh(engine, seed, round(start * 1e9), self.network, sample=sample, count=count)
        self.mesh.deploy(spec.services)
        self.tenants = Tenants(engine, self.mesh, self.network, self.hosts, seed)
        for tenant in spec.tenants:
            self.tenants.begin(tenant)
        self.replicas: dict[str, Replicas] = {}
        self.autoscalers: list[Autoscaler] = []
        for service in spec.services:
            rng = random_stream(seed, f"pods/{service.name}")
            made = Replicas(engine, self.mesh, self.hosts, self.capacity, service, rng)
            made.deployment.begin(service.replicas)
            self.replicas[service.name.name] = made
            if service.autoscaler is not None:
                self.autoscalers.append(Autoscaler(engine, service.name, service.autoscaler, made.deployment))

    def open(self, faults: Iterable[Fault], seed: int, start: float) -> None:
        """Let the traffic in."""
        begin_flows(self.engine, self.mesh, self.spec.flows, faults, seed, start)


def _pools_by_host(pools: Iterable[PoolSpec]) -> dict[str, dict[int, PoolSpec]]:
    found: dict[str, dict[int, PoolSpec]] = {}
    for pool in pools:
        for place in pool.places:
            found.setdefault(place.host, {})[place.gpu] = pool
    return found
