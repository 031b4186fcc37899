"""The replicas of a service: where they run, what they need, and what an autoscaler sees of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from math import nan
from random import Random

from foreshock_exporter.model.family import Families
from foreshock_simulator.calls.mesh import Mesh
from foreshock_simulator.calls.replica import Replica
from foreshock_simulator.calls.service import Service
from foreshock_simulator.control.capacity import Capacity
from foreshock_simulator.control.deployment import Deployment
from foreshock_simulator.core.engine import Engine, Process, Signal
from foreshock_simulator.emit.inference import PORT, emit
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.host import Host
from foreshock_simulator.hardware.mig import least_used_instance
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.make import make_server, memory_bytes
from foreshock_simulator.serving.server import ModelServer
from foreshock_simulator.spec.hosts import Place
from foreshock_simulator.spec.queries import gpus_of
from foreshock_simulator.spec.services import LlmSpec, ModelSpec, ServiceSpec

Hosts = Mapping[str, Host]
COLD_START = 25.0
"""Median seconds of a replica's start where its service has no autoscaler that says it."""


@dataclass(frozen=True, slots=True, eq=False)
class Running:
    """A replica that serves; `server` and `worker` where its service has a model."""

    replica: Replica
    host: Host
    server: ModelServer | None = None
    worker: Worker | None = None


class Replicas:
    """Starts and ends the replicas of one service, and measures them for its autoscaler."""

    def __init__(
        self, engine: Engine, mesh: Mesh, hosts: Hosts, capacity: Capacity, spec: ServiceSpec, rng: Random
    ) -> None:
        self._engine, self._hosts, self._spec = engine, hosts, spec
        self.service: Service = mesh.services[spec.name.name]
        self._turns = cycle(spec.hosts)
        self._marks: dict[str, tuple[float, float]] = {}
        scaler = spec.autoscaler
        self.deployment: Deployment[Running] = Deployment(
            engine,
            spec.name,
            capacity,
            rng,
            pool=spec.pool,
            gpus=gpus_of(spec),
            median_cold_start=scaler.cold_start if scaler else COLD_START,
            start=self._start,
            stop=self._stop,
            measure=self._measure,
        )

    def gpus(self) -> tuple[Gpu, ...]:
        """Those that its replicas run on now."""
        return tuple(gpu for running in self.deployment.replicas if running.worker for gpu in running.worker.gpus)

    def hosts(self) -> tuple[str, ...]:
        """The names of the hosts that its replicas run on now, each once."""
        return tuple(dict.fromkeys(running.host.name for running in self.deployment.replicas))

    def servers(self) -> Iterator[tuple[str, Families]]:
        """Its model servers: where each is, and what it tells of itself."""
        spec, model = self._spec, self._spec.model
        for running in self.deployment.replicas:
            if model is not None and running.server is not None and running.worker is not None:
                stats, language = running.server.stats(), isinstance(model, LlmSpec)
                where = f"{spec.name.name}-{running.worker.pid}.{running.host.name}:{PORT}"
                yield where, emit(spec.name, model.model, stats, language=language)

    def restart(self, pause: float) -> Process:
        """Replace the replicas one after another: the old one is drained, a new one starts in its place, cold."""
        for running in self.deployment.replicas:
            if running in self.deployment.replicas:
                yield from self.deployment.replace(running)
                yield pause

    def _start(self, places: tuple[Place, ...]) -> Running:
        spec = self._spec
        if spec.model is None:
            host = self._hosts[next(self._turns)]
            return Running(self.service.add(host), host)
        host = self._hosts[places[0].host]
        gpus = [host.gpus[place.gpu] for place in places]
        piece = _free_slice(gpus, spec.model)
        worker = Worker(gpus, host.start(spec.name), spec.name, memory_bytes(spec.model, gpus[0], piece), piece)
        server = make_server(self._engine, spec.model, worker)
        return Running(self.service.add(host, server, worker), host, server, worker)

    def _stop(self, running: Running, drain: bool) -> Signal:
        free = Signal(self._engine)
        self._engine.spawn(self._clear(running, self.service.retire(running.replica, drain), free))
        return free

    def _clear(self, running: Running, gone: Signal, free: Signal) -> Process:
        """Its GPUs' memory is held until it has gone."""
        yield gone
        if running.server is not None and running.worker is not None:
            running.server.stop()
            running.host.stop(running.worker.pid)
        free.fire()

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
        """How fast a total has grown since it was last asked for."""
        now = self._engine.now
        before, since = self._marks.get(metric, (total, now))
        self._marks[metric] = total, now
        return (total - before) / (now - since) if now > since else 0.0


def _free_slice(gpus: Sequence[Gpu], model: ModelSpec) -> int | None:
    """The MIG instance for a new replica, the same on each of the GPUs; None where they are whole."""
    if not gpus[0].instances:
        return None
    numbers = range(len(gpus[0].instances))
    processes = [sum(len(gpu.workers_in(number)) for gpu in gpus) for number in numbers]
    fits = [all(memory_bytes(model, gpu, number) <= gpu.free_bytes(number) for gpu in gpus) for number in numbers]
    return least_used_instance(processes, fits)
