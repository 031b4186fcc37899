"""Hand-made Worlds: a victim and a neighbor on two GPUs, whose figures a test sets over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from types import ModuleType

import numpy as np
import pytest
from tests.analysis import platforms

from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Red, Tenant, World

STEP = 10.0
VICTIM, AGGRESSOR, BYSTANDER = Service("serving", "llm"), Service("ml", "batch"), Service("ml", "eval")
CALLER = Service("product", "assistant")
GPUS = (Gpu("host-1", "0", "GPU-a", "H100"), Gpu("host-1", "1", "GPU-b", "H100"))


@dataclass(frozen=True)
class Scene:
    """What happens over `points` grid points; each function maps the grid index to a value."""

    points: int = 300
    start: float = 1_800_000_000.0
    victim_p95: Callable[[int], float] = field(default=lambda _: 0.5)
    caller_p95: Callable[[int], float] = field(default=lambda _: 0.8)
    aggressor_busy: Callable[[int], float] = field(default=lambda _: 0.2)
    victim_busy: Callable[[int], float] = field(default=lambda _: 0.4)
    wait_by_aggressor: Callable[[int], float] = field(default=lambda _: 0.02)
    wait_by_bystander: Callable[[int], float] = field(default=lambda _: 0.02)
    failed: Callable[[int], float] = field(default=lambda _: 0.0)


def row(points: int, value: Callable[[int], float]) -> Floats:
    """One row of an array."""
    return np.array([value(i) for i in range(points)], dtype=np.float64)


def world_of_scene(scene: Scene) -> World:
    """The World of a scene: every GPU sees the same."""
    n = scene.points
    services = tuple(sorted((VICTIM, AGGRESSOR, BYSTANDER, CALLER)))
    p95 = {VICTIM: row(n, scene.victim_p95), CALLER: row(n, scene.caller_p95)}
    nothing = np.full(n, np.nan)
    durations = np.stack([p95.get(service, nothing) for service in services])
    failed = np.stack([row(n, scene.failed) if service == VICTIM else nothing for service in services])
    tenants = tuple(Tenant(gpu, service) for gpu in GPUS for service in (AGGRESSOR, BYSTANDER, VICTIM))
    busy = {AGGRESSOR: scene.aggressor_busy, BYSTANDER: lambda _: 0.1, VICTIM: scene.victim_busy}
    pairs = tuple(GpuWaitPair(gpu, VICTIM, by) for gpu in GPUS for by in (AGGRESSOR, BYSTANDER))
    gpu_wait = {AGGRESSOR: scene.wait_by_aggressor, BYSTANDER: scene.wait_by_bystander}
    gpu_rows = np.full((len(GPUS), n), 0.6)
    return World(
        times=scene.start + STEP * np.arange(n, dtype=np.float64),
        step=STEP,
        services=services,
        red=Red(np.where(np.isnan(durations), np.nan, 5.0), failed, durations, durations, durations),
        edges=(Edge(CALLER, VICTIM),),
        calls=Red.empty(1, n),
        server_p95=np.full((1, n), np.nan),
        attempts=np.full((1, n), np.nan),
        gpus=GPUS,
        utilization=gpu_rows,
        contended=gpu_rows,
        memory_used=gpu_rows,
        memory_total=gpu_rows,
        power=gpu_rows,
        temperature=gpu_rows,
        tenants=tenants,
        busy=np.stack([row(n, busy[tenant.service]) for tenant in tenants]),
        gpu_wait=np.full((len(tenants), n), 0.1),
        memory=np.full((len(tenants), n), 1e9),
        gpu_wait_pairs=pairs,
        gpu_wait_by=np.stack([row(n, gpu_wait[pair.noisy_neighbor]) for pair in pairs]),
        operations=(),
        operation_red=Red.empty(0, n),
    )


def rising(at: int, low: float, high: float) -> Callable[[int], float]:
    """A step from `low` to `high` at grid index `at`."""
    return lambda i: high if i >= at else low


def last_state(world: World, state: State | None = None) -> State:
    """The state after the last grid point of the World."""
    state = state or State()
    for following in states(state, world):
        state = following
    return state


class Scenes:
    """What the tests of the analysis need, handed in as one fixture."""

    step = STEP
    victim, aggressor, bystander, caller = VICTIM, AGGRESSOR, BYSTANDER, CALLER
    gpus = GPUS
    calm = Scene()
    contended = Scene(
        victim_p95=rising(240, 0.5, 1.5),
        aggressor_busy=rising(240, 0.2, 0.7),
        wait_by_aggressor=rising(240, 0.02, 0.5),
    )
    """From grid index 240 on the neighbor takes half the time of both GPUs and the victim's p95 triples."""

    @staticmethod
    def world(scene: Scene, **changes: Callable[[int], float]) -> World:
        """The World of the scene, some of it changed."""
        return world_of_scene(replace(scene, **changes))  # type: ignore[arg-type] # names are the scene's own

    @staticmethod
    def rising(at: int, low: float, high: float) -> Callable[[int], float]:
        """A step from `low` to `high` at grid index `at`."""
        return rising(at, low, high)


@pytest.fixture(scope="session", name="scenes")
def _scenes() -> type[Scenes]:
    return Scenes


@pytest.fixture(scope="session", name="platforms")
def _platforms() -> ModuleType:
    return platforms
