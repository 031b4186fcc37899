"""Tenants: processes on GPUs for batch work and training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from foreshock_simulator.calls.client import CallSite
from foreshock_simulator.calls.mesh import Mesh, Tenant
from foreshock_simulator.calls.request import UnitOfWork
from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.randomness import random_stream
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.network.network import Network
from foreshock_simulator.spec.hosts import Place
from foreshock_simulator.spec.services import Call, TenantSpec
from foreshock_simulator.workload.jobs import Attributes, Environment, batch, train
from foreshock_simulator.world.replicas import Hosts

CallSites = Mapping[Call, CallSite]
Trace = tuple[Tenant, UnitOfWork, CallSites]


class Tenants:
    """Starts the processes of tenants."""

    def __init__(self, engine: Engine, mesh: Mesh, network: Network, hosts: Hosts, seed: int) -> None:
        self._engine, self._mesh, self._network, self._hosts, self._seed = engine, mesh, network, hosts, seed
        self._callers: dict[Worker, tuple[Tenant, CallSites]] = {}
        self._started_jobs = 0

    def begin(self, spec: TenantSpec) -> None:
        """Start a tenant on all its places.

        Raises:
            ValueError: not enough GPU memory, or a call to an unknown service or operation.
        """
        workers = [self._start_worker(spec, Place(*place)) for place in spec.places]
        if spec.kind == "training":
            self._engine.spawn(train(spec, workers, self._environment(spec)))
        else:
            for worker in workers:
                self._engine.spawn(batch(spec, worker, self._environment(spec)))

    def grow(self, spec: TenantSpec, place: Place) -> Worker:
        """Start one more process of a batch tenant on a GPU.

        Raises:
            ValueError: not enough GPU memory.
        """
        worker = self._start_worker(replace(spec, kind="batch"), place)
        self._engine.spawn(batch(spec, worker, self._environment(spec)))
        return worker

    def end(self, workers: Sequence[Worker]) -> None:
        """End processes."""
        for worker in workers:
            caller, _ = self._callers[worker]
            caller.ended = True
            worker.stop()
            self._hosts[worker.gpus[0].host].stop(worker.pid)

    def _start_worker(self, spec: TenantSpec, place: Place) -> Worker:
        host = self._hosts[place.host]
        pid = host.start(spec.name)
        worker = Worker((host.gpus[place.gpu],), pid, spec.name, spec.memory_bytes, spec.slice)
        caller = self._mesh.tenant(spec.name, host, pid, spec.calls)
        self._callers[worker] = caller, dict(zip(spec.calls, caller.call_sites, strict=True))
        return worker

    def _environment(self, spec: TenantSpec) -> Environment[Trace]:
        self._started_jobs += 1
        return Environment(
            self._engine,
            random_stream(self._seed, f"workload/{spec.name}/{self._started_jobs}"),
            begin=self._begin,
            call=self._call,
            record=_record,
            transfer=lambda source, target, size: self._network.bulk(source, target, size, rdma=True),
        )

    def _begin(self, worker: Worker) -> Trace:
        caller, sites = self._callers[worker]
        return caller, caller.begin(), sites

    def _call(self, trace: Trace, call: Call) -> Process:
        caller, unit, sites = trace
        yield from caller.try_call(unit, sites[call])


def _record(trace: Trace, name: str, attributes: Attributes) -> None:
    caller, unit, _ = trace
    caller.end(unit, name, attributes)
