"""A system without processes, on a clock that is only moved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_lab.campaign.runner import WallTime
from foreshock_lab.topology.draw import draw
from foreshock_lab.topology.model import Topology

START = 10_000.0


class Clock(WallTime):
    """Time that passes only while a caller sleeps."""

    def __init__(self) -> None:
        self.time = START

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class Request(NamedTuple):
    """A request of a user."""

    time: float
    operation: str
    seconds: float
    succeeded: bool


@dataclass
class Usage:
    """Use of a cgroup."""

    cpu_seconds: float = 0.0
    cpu_cores: float = 1.0
    memory: float = 1e8
    memory_limit: float = 5e8


class Cgroup:
    """A control group that remembers what is set."""

    def __init__(self) -> None:
        self.state = Usage()
        self.pids: list[int] = []

    def add(self, pid: int) -> None:
        self.pids.append(pid)

    def cpu_limit(self, cores: float | None) -> None:
        self.state.cpu_cores = float("inf") if cores is None else cores

    def memory_limit(self, size: int | None) -> None:
        self.state.memory_limit = float("inf") if size is None else size

    def usage(self) -> Usage:
        return self.state


@dataclass
class Replica:
    """A process that is none."""

    pid: int
    cgroup: Cgroup = field(default_factory=Cgroup)
    running: bool = True


@dataclass
class Service:
    """A service."""

    replicas: Sequence[Replica]


class System:
    """Remembers what is done to it. Users see what `behavior` of the clock's time says; by default 20 ms.

    log: what was called, without the setting of behaviors. behaviors: present ones by service.
    """

    postgres, valkey, prometheus_pid = "postgresql://nowhere", ("127.0.0.1", 1), 1

    def __init__(self, folder: Path, seed: int = 1) -> None:
        self.topology: Topology = draw(seed)
        self.folder, self.clock = folder, Clock()
        self.services = {
            spec.name: Service([Replica(10 * place + i) for i in range(spec.replicas)])
            for place, spec in enumerate(self.topology.services, 1)
        }
        self.behaviors: dict[str, Mapping[str, Any]] = {}
        self.factors: Mapping[str, float] = {}
        self.log: list[str] = []
        self.seen: Callable[[float], float] = lambda _time: 0.02

    def service(self, name: str) -> Service:
        return self.services[name]

    def address(self, name: str) -> str:
        return f"127.0.10.{1 + list(self.services).index(name)}"

    def volume(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(exist_ok=True)
        return path

    def behave(self, name: str, **behavior: Any) -> None:  # noqa: ANN401 - JSON
        self.behaviors[name] = {**self.behaviors.get(name, {}), **behavior} if behavior else {}

    def stop(self, name: str, replica: int = 0, *, kill: bool = False) -> None:
        self.log.append(f"{'kill' if kill else 'stop'} {name} {replica}")
        self.services[name].replicas[replica].running = False

    def start(
        self, name: str, replica: int = 0, version: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        settings = " ".join(f"{key}={value}" for key, value in (env or {}).items())
        self.log.append(f"start {name} {replica} {version or ''} {settings}".strip())
        self.services[name].replicas[replica].running = True

    def resolve(self, name: str, *, works: bool) -> None:
        self.log.append(f"{name} {'resolves' if works else 'does not resolve'}")

    def load(self, rate_factor: float = 1.0, prompt_factor: float = 1.0, output_factor: float = 1.0) -> None:
        self.factors = {"rate": rate_factor, "prompt": prompt_factor, "output": output_factor}

    def user_requests(self, start: float, end: float) -> Sequence[Request]:
        times = [start + i for i in range(int(min(end, self.clock.time) - start))]
        return [Request(time, "home", self.seen(time), True) for time in times if time >= START]

    def record(
        self, out: Path, start: float, end: float, truth: dict[str, Any], left_out: Sequence[tuple[float, float]] = ()
    ) -> None:
        out.mkdir(parents=True)
        assert (truth["start"], truth["end"]) == (start, end)
        (out / "truth.json").write_bytes(orjson.dumps(truth | {"left out": left_out}))
