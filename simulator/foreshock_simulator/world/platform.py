"""The running platform: all parts of its spec on one clock, and its traffic."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf

from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.control.autoscaler import Autoscaler
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.gpu import Gpu, Host
from foreshock_simulator.network.network import Network
from foreshock_simulator.spec.faults import Fault, LongerPrompts, Surge
from foreshock_simulator.spec.platform import FlowSpec, PlatformSpec, PoolSpec
from foreshock_simulator.traffic.arrivals import Arrivals, arrivals
from foreshock_simulator.world.replicas import Replicas
from foreshock_simulator.world.tenants import Tenants

OUTSIDE = "outside"
"""A host outside the platform, the source of bulk transfers."""
OUTSIDE_BYTES_PER_SECOND = 400e9
"""Capacity of its interface."""


class Platform:
    """Hosts, network, pools, tenants, and services with their replicas and autoscalers.

    See `Simulation` for the arguments.

    Raises:
        ValueError: inconsistent parts; a spec of `scenarios.load` is consistent.
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
        self.network.add(OUTSIDE, OUTSIDE_BYTES_PER_SECOND)
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
            replicas = Replicas(engine, self.mesh, self.hosts, self.capacity, service, rng)
            replicas.deployment.begin(service.replicas)
            self.replicas[service.name.name] = replicas
            if service.autoscaler is not None:
                self.autoscalers.append(Autoscaler(engine, service.name, service.autoscaler, replicas.deployment))

    def rack_gpus(self, rack: str) -> tuple[Gpu, ...]:
        """GPUs of the hosts in a rack."""
        return tuple(gpu for host in self.hosts.values() if host.spec.rack == rack for gpu in host.gpus)

    def start_traffic(self, faults: Iterable[Fault], seed: int, start: float) -> None:
        """Start the traffic of all flows, with surges and longer prompts of the faults.

        Raises:
            ValueError: an invalid value of a flow, or an unknown service or operation.
        """
        traffic_faults = sorted(
            (fault for fault in faults if isinstance(fault, Surge | LongerPrompts)), key=lambda fault: fault.at
        )
        for flow in self.spec.flows:
            requests = arrivals(flow, seed, start)
            for fault in traffic_faults:
                if fault.flow == flow.name:
                    _apply(requests, fault)
            self.engine.spawn(_generate(self.engine, self.mesh, flow, requests))


def _pools_by_host(pools: Iterable[PoolSpec]) -> dict[str, dict[int, PoolSpec]]:
    by_host: dict[str, dict[int, PoolSpec]] = {}
    for pool in pools:
        for place in pool.places:
            by_host.setdefault(place.host, {})[place.gpu] = pool
    return by_host


def _apply(requests: Arrivals, fault: Surge | LongerPrompts) -> None:
    curves = (
        [(requests.rate_factor, fault.factor)]
        if isinstance(fault, Surge)
        else [(requests.prompt_factor, fault.factor), (requests.answer_factor, fault.answers)]
    )
    for curve, factor in curves:
        before = curve(fault.at)
        curve.change(fault.at, before * factor, fault.ramp)
        if fault.duration is not None:
            curve.change(fault.at + fault.duration, before)


def _generate(engine: Engine, mesh: Mesh, flow: FlowSpec, requests: Arrivals) -> Process:
    while True:
        time, prompt, generated = requests.next()
        if time == inf:
            return
        if time > engine.now:
            yield time - engine.now
        mesh.enter(flow, prompt, generated)
