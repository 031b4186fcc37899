"""The replicas of a service: their hosts, GPUs and model servers, and their metrics for the autoscaler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from math import inf, nan
from random import Random

from foreshock_exporter.model.family import Families
from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.calls.replica import Replica
from foreshock_simulator.calls.service import Service
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.deployment import Deployment
from foreshock_simulator.control.kube import PodMemory
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.emit.inference import PORT, families
from foreshock_simulator.hardware.gpu import Gpu, Host
from foreshock_simulator.hardware.models import least_used_instance
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.batch_model import BatchServer
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import ModelServer, memory_bytes
from foreshock_simulator.spec.platform import Place
from foreshock_simulator.spec.queries import gpus_per_replica
from foreshock_simulator.spec.services import LlmSpec, ModelSpec, ServiceSpec

Hosts = Mapping[str, Host]
DEFAULT_COLD_START_SECONDS = 25.0
"""Median cold start of a replica without an autoscaler."""
LIVE_MEMORY_RATIO = 0.3
"""Memory that a replica needs, over its limit; an assumption."""


@dataclass(frozen=True, slots=True, eq=False)
class RunningReplica:
    """A running replica, with a model server for services with a model."""

    replica: Replica
    host: Host
    server: ModelServer | None = None


class Replicas:
    """Starts and stops the replicas of one service, and measures them for its autoscaler."""

    def __init__(
        self, engine: Engine, mesh: Mesh, hosts: Hosts, capacity: Capacity, spec: ServiceSpec, rng: Random
    ) -> None:
        self._engine, self._hosts, self._spec = engine, hosts, spec
        self.service: Service = mesh.services[spec.name.name]
        self._next_host = cycle(spec.hosts)
        self._last_totals: dict[str, tuple[float, float]] = {}
        scaler = spec.autoscaler
        self.deployment: Deployment[RunningReplica] = Deployment(
            engine,
            spec.name,
            capacity,
            rng,
            pool=spec.pool,
            gpus=gpus_per_replica(spec),
            median_cold_start=scaler.cold_start if scaler else DEFAULT_COLD_START_SECONDS,
            start=self._start,
            stop=self._stop,
            measure=self._measure,
            version=lambda: self.service.release.version,
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """GPUs of its running replicas."""
        return tuple(
            gpu for running in self.deployment.replicas if running.server for gpu in running.server.worker.gpus
        )

    def hosts(self) -> tuple[str, ...]:
        """Names of the hosts of its running replicas, without duplicates."""
        return tuple(dict.fromkeys(running.host.name for running in self.deployment.replicas))

    def servers(self) -> Iterator[tuple[str, Families]]:
        """Its model servers: `host:port` and metric families."""
        spec, model = self._spec, self._spec.model
        for running in self.deployment.replicas:
            if model is not None and running.server is not None:
                stats, is_llm = running.server.stats(), isinstance(model, LlmSpec)
                address = f"{spec.name.name}-{running.server.worker.pid}.{running.host.name}:{PORT}"
                yield address, families(spec.name, model.model, stats, is_llm=is_llm)

    @property
    def memory_limit_bytes(self) -> float:
        """Memory at which a replica is killed; infinite without a limit."""
        return inf if self._spec.memory_bytes is None else self._spec.memory_bytes

    def memory_used_bytes(self, running: RunningReplica) -> float:
        """Memory of a replica: what it always needs, and what it has leaked."""
        return LIVE_MEMORY_RATIO * self.memory_limit_bytes + running.replica.leaked_bytes

    def memory(self) -> list[PodMemory]:
        """Memory of its pods that run; empty without a limit."""
        limit, name = self._spec.memory_bytes, self._spec.name
        running = [(pod.name, pod.replica) for pod in self.deployment.pods if pod.replica is not None]
        return [] if limit is None else [PodMemory(name, pod, self.memory_used_bytes(it), limit) for pod, it in running]

    def restart(self, pause: float, count: int | None = None) -> Process:
        """Rolling restart: drain `count` replicas (default all), start others in their place, `pause` seconds apart."""
        self.deployment.generation += 1
        for running in self.deployment.replicas[:count]:
            if running in self.deployment.replicas:
                yield from self.deployment.replace(running)
                yield pause

    def _start(self, places: tuple[Place, ...]) -> RunningReplica:
        running = self._run(places)
        if (leak := running.replica.release.leak) is not None:
            self._engine.schedule(self._engine.now + leak, self.deployment.crash, running)
        return running

    def _run(self, places: tuple[Place, ...]) -> RunningReplica:
        spec = self._spec
        if spec.model is None:
            host = self._hosts[next(self._next_host)]
            return RunningReplica(self.service.add(host), host)
        host = self._hosts[places[0].host]
        gpus = [host.gpus[place.gpu] for place in places]
        slice_index = _free_slice(gpus, spec.model)
        size = memory_bytes(spec.model, gpus[0], slice_index)
        worker = Worker(gpus, host.start(spec.name), spec.name, size, slice_index)
        swap = self.service.release.swap
        server: ModelServer = (
            LlmServer(self._engine, spec.model, worker)
            if isinstance(spec.model, LlmSpec)
            else BatchServer(self._engine, spec.model if swap is None else replace(spec.model, swap=swap), worker)
        )
        return RunningReplica(self.service.add(host, server, worker), host, server)

    def _stop(self, running: RunningReplica, drain: bool) -> Signal:
        released = Signal(self._engine)
        self._engine.spawn(self._release(running, self.service.retire(running.replica, drain), released))
        return released

    def _release(self, running: RunningReplica, terminated: Signal, released: Signal) -> Process:
        """Hold the GPU memory until the replica has ended."""
        yield terminated
        if running.server is not None:
            running.server.stop()
            running.host.stop(running.server.worker.pid)
        released.fire()

    def _measure(self, metric: str) -> float:
        ready = self.service.ready
        if not ready:
            return nan
        if metric == "in_flight":
            return self.service.in_flight / ready
        if metric == "cpu":
            return self._rate(metric, self.service.cpu_seconds) / (ready * self._spec.threads)
        gpus = self.gpus()
        now = self._engine.now
        busy = self._rate(metric, sum(gpu.busy_seconds_at(now) for gpu in gpus))
        return max(0.0, busy) / len(gpus) if gpus else nan

    def _rate(self, metric: str, total: float) -> float:
        """Growth rate of a total since the last call with this metric."""
        now = self._engine.now
        last_total, last_time = self._last_totals.get(metric, (total, now))
        self._last_totals[metric] = total, now
        return (total - last_total) / (now - last_time) if now > last_time else 0.0


def _free_slice(gpus: Sequence[Gpu], model: ModelSpec) -> int | None:
    """The MIG instance for a new replica, the same on each of its GPUs; None on whole GPUs."""
    if not gpus[0].instances:
        return None
    indices = range(len(gpus[0].instances))
    processes = [sum(len(gpu.workers_in(index)) for gpu in gpus) for index in indices]
    fits = [all(memory_bytes(model, gpu, index) <= gpu.free_bytes(index) for gpu in gpus) for index in indices]
    return least_used_instance(processes, fits)
