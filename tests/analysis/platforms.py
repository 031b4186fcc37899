"""Synthetic platforms: services, calls, and GPU tenants with their signals over time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Operation, Red, Tenant, World
from foreshock_dashboard.model.world_sections import Hardware, ModelServers

STEP, START = 10.0, 1_800_000_000.0
Course = float | Callable[[int], float]
"""A figure over time: constant, or by grid index."""


@dataclass(frozen=True)
class Served:
    """What a service, or an edge as its server sees it, shows: per second, seconds, ratio.

    p50 is a quarter of p95, or of `tailless` where that is given; p99 is p95 unless given. client: p95 of an
    edge as its client sees it, if longer.
    """

    rate: Course = 10.0
    p95: Course = 0.4
    failed: Course = 0.0
    attempts: Course = 1.0
    tailless: Course | None = None
    p99: Course | None = None
    client: Course | None = None


@dataclass(frozen=True)
class Platform:
    """A platform over `points` grid points; what begins, begins at `at`. `unseen`: only clients report these. `kinds`:
    requests by service and operation, or just their number a second.
    """

    services: Mapping[str, Served] = field(default_factory=dict)
    calls: Mapping[tuple[str, str], Served] = field(default_factory=dict)
    kinds: Mapping[tuple[str, str], Course | Served] = field(default_factory=dict)
    busy: Mapping[tuple[int, str], Course] = field(default_factory=dict)
    gpu_wait: Mapping[tuple[int, str, str], Course] = field(default_factory=dict)
    queued: Mapping[str, Course] = field(default_factory=dict)
    running: Mapping[str, Course] = field(default_factory=dict)
    clock: Mapping[int, Course] = field(default_factory=dict)
    unseen: frozenset[str] = frozenset()
    points: int = 300
    at: int = 240

    def world(self) -> World:
        """The platform as the analysis sees it."""
        names = sorted({*self.services, *(name for _, name in self.busy)})
        gpu = {
            n: Gpu(f"host-{n}", "0", f"GPU-{n}")
            for n in sorted({n for n, _ in self.busy} | {n for n, _, _ in self.gpu_wait})
        }
        gpus = tuple(gpu.values())
        edges = sorted(self.calls)
        tenants, pairs, models = sorted(self.busy), sorted(self.gpu_wait), sorted({*self.queued, *self.running})
        busy = self._rows([self.busy[key] for key in tenants])
        totals = [busy[[n == index for n, _ in tenants]].sum(axis=0) for index in gpu]
        utilization = np.minimum(np.array(totals).reshape(len(gpus), self.points), 1.0)
        served = self._red([self.calls[key] for key in edges])
        calls = self._red([_seen_by_client(self.calls[key]) for key in edges])
        untold = self._rows([np.nan for _ in models])
        nothing = np.full((len(gpus), self.points), np.nan)
        return World(
            times=START + STEP * np.arange(self.points, dtype=np.float64),
            step=STEP,
            services=tuple(map(service, names)),
            red=self._red([self.services.get(name, Served(np.nan, np.nan, np.nan)) for name in names]),
            edges=tuple(Edge(service(a), service(b), "virtual_node" if a == "user" else "") for a, b in edges),
            calls=calls,
            server_p95=np.where([[b in self.unseen] for _, b in edges], np.nan, served.p95) if edges else served.p95,
            attempts=self._rows([self.calls[key].attempts for key in edges]),
            operations=tuple(Operation(service(name), kind) for name, kind in sorted(self.kinds)),
            operation_red=self._red([_kind(self.kinds[key]) for key in sorted(self.kinds)]),
            gpus=gpus,
            utilization=utilization,
            contended=nothing,
            memory_used=nothing,
            memory_total=nothing,
            power=nothing,
            temperature=nothing,
            tenants=tuple(Tenant(gpu[n], service(name)) for n, name in tenants),
            busy=busy,
            gpu_wait=np.full_like(busy, np.nan),
            memory=np.full_like(busy, np.nan),
            gpu_wait_pairs=tuple(GpuWaitPair(gpu[n], service(a), service(b)) for n, a, b in pairs),
            gpu_wait_by=self._rows([self.gpu_wait[key] for key in pairs]),
            hardware=replace(
                Hardware.empty(len(gpus), self.points),
                clock=self._rows([self.clock.get(index, np.nan) for index in gpu]),
            ),
            model_servers=replace(
                ModelServers.empty(self.points),
                services=tuple(map(service, models)),
                waiting=untold,
                cache=untold,
                preempted=untold,
                finished=untold,
                first_token=untold,
                per_token=untold,
                prompt_tokens=untold,
                generated_tokens=untold,
                queued=self._rows([self.queued.get(name, np.nan) for name in models]),
                running=self._rows([self.running.get(name, np.nan) for name in models]),
            ),
        )

    def point(self, later: int = 5, seconds: float = STEP) -> EvaluationPoint:
        """The platform `later` grid points of some seconds after `at`, against the baseline until then."""
        world = self.world()
        world = replace(world, times=START + seconds * np.arange(self.points, dtype=np.float64), step=seconds)
        return EvaluationPoint(world, self.at + later, baselines_at(world, self.at))

    def _rows(self, courses: list[Course]) -> Floats:
        rows = [[course(i) if callable(course) else course for i in range(self.points)] for course in courses]
        return np.array(rows, dtype=np.float64).reshape(len(courses), self.points)

    def _red(self, served: list[Served]) -> Red:
        p95 = self._rows([item.p95 for item in served])
        rate, failed = self._rows([item.rate for item in served]), self._rows([item.failed for item in served])
        normal = self._rows([item.p95 if item.tailless is None else item.tailless for item in served])
        p99 = self._rows([item.p95 if item.p99 is None else item.p99 for item in served])
        return Red(rate, failed, normal / 4, p95, p99)


def _seen_by_client(served: Served) -> Served:
    return served if served.client is None else replace(served, p95=served.client)


def _kind(served: Course | Served) -> Served:
    return served if isinstance(served, Served) else Served(served, np.nan)


def service(name: str) -> Service:
    """A service of that name, which may have a namespace and a cluster."""
    return Service.parse(name)


def step(before: float, after: float, at: int = 240) -> Callable[[int], float]:
    """A step from one value to another."""
    return lambda i: after if i >= at else before


def windowed(before: float, after: float, at: int = 240, intervals: int = 2) -> Callable[[int], float]:
    """The same step as a rate shows it, over a window of `intervals` sample intervals."""
    return lambda i: before + (after - before) * min(1.0, max(0, i - at) / intervals)
