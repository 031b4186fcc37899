"""A service: its replicas, what it can be asked, how much is in it, and what faults may change of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foreshock_simulator.calls.client import Line
from foreshock_simulator.calls.gauge import Level
from foreshock_simulator.calls.health_probes import check
from foreshock_simulator.calls.interfaces import Host, Job, Model, Worker
from foreshock_simulator.calls.load_balancing import Choose, choose_by
from foreshock_simulator.calls.replica import ENDS, End, Replica
from foreshock_simulator.calls.request import Operation, Request
from foreshock_simulator.core.engine import Signal
from foreshock_simulator.core.randomness import (normals, stream)
from foreshock_simulator.spec.services import LlmSpec, ServiceSpec
from foreshock_simulator.tracing.service_graph import ModelUse
from foreshock_simulator.tracing.spans import Attributes, Inference, model_attributes

if TYPE_CHECKING:
    from foreshock_simulator.calls.mesh import Mesh

Observe = Callable[[float, float, bool], None]
"""Told of each request that ends: when, seconds since it came in, whether it went well."""


class Service:
    """A deployment. `Mesh.deploy` makes it; replicas are added afterwards.

    `population` counts requests in its replicas, waiting or worked on; `cpu` the threads that compute; `ends` how
    requests left. `fail_ratio` of the requests are answered 500 after their work; `observe` is told of all of them.
    """

    def __init__(self, mesh: Mesh, spec: ServiceSpec) -> None:
        self.spec, self.name = spec, spec.name
        self.rng = stream(mesh.seed, f"service/{spec.name}")
        self.normals = normals(self.rng)
        self.replicas: list[Replica] = []
        self.operations: dict[str, Operation] = {}
        self.lines: list[Line] = []
        self.population, self.cpu = Level(), Level()
        self.ends: dict[End, int] = dict.fromkeys(ENDS, 0)
        self.fail_ratio = 0.0
        self.observe: Observe | None = None
        self.use: ModelUse | None = None
        if spec.model is not None:
            self.use = mesh.counts.of_model(spec.name, spec.model.model)
        self._language = isinstance(spec.model, LlmSpec)
        self._slow = 1.0
        self._mesh = mesh
        self._choose: Choose[Replica] = choose_by(spec.balancing, stream(mesh.seed, f"balancing/{spec.name}"))
        self._ready: list[Replica] = []
        self._about: dict[str, Attributes] = {}

    @property
    def ready(self) -> int:
        """Replicas that get requests."""
        return len(self._ready)

    @property
    def in_flight(self) -> int:
        """Requests in its replicas, waiting or worked on."""
        return self.population.now

    @property
    def cpu_busy(self) -> float:
        """Seconds for which threads have computed so far, summed over them."""
        return self.cpu.seconds(self._mesh.engine.now)

    @property
    def slow(self) -> float:
        """Times that its own work, on CPU and GPU, takes longer than usual."""
        return self._slow

    @slow.setter
    def slow(self, factor: float) -> None:
        self._slow = factor
        for replica in self.replicas:
            if replica.worker is not None:
                replica.worker.slow = factor

    def add(self, host: Host, server: Model[Any] | None = None, worker: Worker | None = None) -> Replica:
        """Start a replica, which gets requests from now on. Without a worker it is given a pid of its host.

        Whoever gave it a server and a worker takes them back when `gone` fires.
        """
        replica = Replica(self._mesh, self, host, server, worker)
        if worker is not None and self._slow != 1.0:
            worker.slow = self._slow
        self.replicas.append(replica)
        self.resort()
        if self.spec.health is not None:
            self._mesh.engine.spawn(check(self._mesh, replica, self.spec.health))
        return replica

    def retire(self, replica: Replica, drain: bool = True) -> Signal:
        """Take a replica out: after it has answered what it has (and what is on its way to it), or at once.

        Gives the signal that it has gone.
        """
        replica.draining = True
        self.resort()
        if drain:
            replica.settle()
        else:
            replica.kill()
        return replica.gone

    def pick(self) -> Replica | None:
        """The replica that the next request goes to; None where none is ready."""
        ready = self._ready
        return self._choose(ready) if ready else None

    def override(self, callee: str, timeout: float | None = None, attempts: int | None = None) -> None:
        """Change how it treats its calls to a callee from now on.

        Raises:
            ValueError: it never calls that one.
        """
        lines = [line for line in self.lines if line.target.name.name == callee]
        if not lines:
            calls = ", ".join(dict.fromkeys(line.target.name.name for line in self.lines)) or "nobody"
            raise ValueError(f"{self.name.name} does not call {callee!r}; it calls {calls}")
        for line in lines:
            policy = line.policy
            if timeout is not None:
                policy = replace(policy, timeout=timeout)
            if attempts is not None:
                policy = replace(policy, attempts=attempts)
            line.policy = policy

    def inference(self, request: Request, job: Job) -> Inference:
        """What its span tells of a request that the model has served."""
        model, route = self.spec.model, request.operation.route
        about = self._about.get(route)
        if about is None:
            about = self._about[route] = model_attributes(route, model.model if model else "")
        return Inference(about, *self._served(request, job))

    def used(self, request: Request, job: Job) -> None:
        """Count a request that the model has served."""
        if self.use is not None:
            self.use.add(*self._served(request, job))

    def resort(self) -> None:
        """Find anew which replicas are ready."""
        self._ready = [replica for replica in self.replicas if replica.healthy and not replica.draining]

    def left(self, replica: Replica) -> None:
        """A replica has ended."""
        self.replicas.remove(replica)
        self.resort()

    def _served(self, request: Request, job: Job) -> tuple[int, int, float | None, float | None]:
        """Tokens of the prompt and generated, seconds until it began and until the first token; of a language model."""
        if self._language:
            return request.prompt, request.generated, job.queued_seconds, job.first_token_seconds
        return request.prompt, 0, job.queued_seconds, None
