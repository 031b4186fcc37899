"""A hand-made platform: users, front, gateway, a language model on two hosts, and a store. Tests change its values.

people ─▶ front ─▶ gateway ─▶ llm (two replicas, GPUs a and b of host-1 and host-2)
   │        └────▶ store (database)   │      batch (beside llm on both GPUs) ─▶ store
   └────────────────▶ gateway         └─▶ coder
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Gpu, GpuWaitPair, Red, Tenant, World
from foreshock_dashboard.model.world_sections import Capacity, Hardware, ModelServers, Network, Replica
from foreshock_dashboard.render.action import action_text

STEP, START, POINTS = 10.0, 1_800_000_000.0, 300
USERS, FRONT, GATEWAY = Service("", "user"), Service("product", "front"), Service("serving", "gateway")
LLM, CODER = Service("serving", "llm"), Service("serving", "coder")
STORE, BATCH = Service("data", "store"), Service("ml", "batch")
SERVICES = tuple(sorted((FRONT, GATEWAY, LLM, CODER, STORE, BATCH)))
IN, ASK, ANSWER = Edge(USERS, FRONT, "virtual_node"), Edge(FRONT, GATEWAY), Edge(GATEWAY, LLM)
QUERY, FEED = Edge(FRONT, STORE, "database"), Edge(BATCH, STORE, "database")
DIRECT, CODE = Edge(USERS, GATEWAY, "virtual_node"), Edge(GATEWAY, CODER)
EDGES = (IN, ASK, ANSWER, QUERY, FEED, DIRECT, CODE)
GPUS = (Gpu("host-1", "0", "a"), Gpu("host-2", "0", "b"))
TENANTS = tuple(Tenant(gpu, service) for gpu in GPUS for service in (BATCH, LLM))
GPU_WAIT_PAIRS = tuple(GpuWaitPair(gpu, LLM, BATCH) for gpu in GPUS)
HOSTS = ("host-1", "host-2", "host-3")
REPLICAS = (Replica(LLM, "llm-1.host-1:8000"), Replica(LLM, "llm-2.host-2:8000"))
POOLS = ("chat", "embed")

Shape = Callable[[int], float]
Changes = Mapping[tuple[str, Any], Shape | float]
"""Changed values: (name, key) → a constant, or a function of the grid index."""

BASELINE: Mapping[str, Mapping[Any, float]] = {
    "rate": {FRONT: 5, GATEWAY: 7, LLM: 5, STORE: 6, CODER: 2},
    "error_rate": {FRONT: 0, GATEWAY: 0, LLM: 0, STORE: 0, CODER: 0},
    "p50": {FRONT: 2.5, GATEWAY: 2.2, LLM: 2, STORE: 0.01, CODER: 1},
    "p95": {FRONT: 9, GATEWAY: 8.5, LLM: 8, STORE: 0.03, CODER: 2},
    "edge_rate": {IN: 5, ASK: 5, ANSWER: 5, QUERY: 5, FEED: 1, DIRECT: 2, CODE: 2},
    "edge_error_rate": dict.fromkeys(EDGES, 0),
    "edge_p95": {ASK: 8.6, ANSWER: 8.1, QUERY: 0.03, FEED: 0.03, CODE: 2.1},
    "edge_server": {IN: 9, ASK: 8.5, ANSWER: 8, QUERY: 0.03, FEED: 0.03, DIRECT: 8.5, CODE: 2},
    "attempts": dict.fromkeys(EDGES, 1),
    "busy": {tenant: 0.2 if tenant.service == BATCH else 0.6 for tenant in TENANTS},
    "gpu_wait_by": dict.fromkeys(GPU_WAIT_PAIRS, 0.02),
    "utilization": dict.fromkeys(GPUS, 0.8),
    "running": {LLM: 20},
    "waiting": {LLM: 0},
    "cache": {LLM: 0.3},
    "preempted": {LLM: 0},
    "finished": {LLM: 5},
    "queued": {LLM: 0.01},
    "first_token": {LLM: 0.2},
    "per_token": {LLM: 0.02},
    "prompt_tokens": {LLM: 5000},
    "generated_tokens": {LLM: 1000},
    "replica_busy": dict.fromkeys(REPLICAS, 10),
    "replica_finished": dict.fromkeys(REPLICAS, 2.5),
    "replica_seconds": dict.fromkeys(REPLICAS, 4),
    "wanted": {LLM: 2},
    "ready": {LLM: 2},
    "max_replicas": {LLM: 6},
    "pending": {LLM: 0},
    "quota": dict.fromkeys(POOLS, 4),
    "used": dict.fromkeys(POOLS, 2),
    "nic": dict.fromkeys(HOSTS, 0.1),
    "retransmitted": dict.fromkeys(HOSTS, 0),
    "timeouts": dict.fromkeys(HOSTS, 0),
    "dropped": dict.fromkeys(HOSTS, 0),
    "clock": dict.fromkeys(GPUS, 1),
    "throttled": dict.fromkeys(GPUS, 0),
    "errors": dict.fromkeys(GPUS, 0),
    "lost": dict.fromkeys(GPUS, 0),
}


def since(at: int, before: float, after: float) -> Shape:
    """A step at a grid index."""
    return lambda i: after if i >= at else before


def ramp(first: int, last: int, low: float, high: float) -> Shape:
    """A line between two grid indices, level before and after."""
    return lambda i: low + (high - low) * min(1.0, max(0.0, (i - first) / (last - first)))


def world(changes: Changes | None = None, points: int = POINTS, step: float = STEP) -> World:
    """The platform with some values changed.

    Raises:
        KeyError: the platform has no such value.
    """
    remaining = dict(changes or {})

    def rows(figure: str, keys: Sequence[Any]) -> Floats:
        out = np.full((len(keys), points), np.nan)
        for row, key in enumerate(keys):
            shape = remaining.pop((figure, key), BASELINE[figure].get(key, np.nan))
            out[row] = [shape(i) for i in range(points)] if callable(shape) else shape
        return out

    names = ("running", "waiting", "cache", "preempted", "finished", "queued", "first_token", "per_token")
    servers = {name: rows(name, (LLM,)) for name in (*names, "prompt_tokens", "generated_tokens")}
    replicas = {name: rows(name, REPLICAS) for name in ("replica_busy", "replica_finished", "replica_seconds")}
    served = {name: rows(name, SERVICES) for name in ("rate", "error_rate", "p50", "p95")}
    calls = rows("edge_p95", EDGES)
    built = World(
        times=START + step * np.arange(points, dtype=np.float64),
        step=step,
        services=SERVICES,
        red=Red(**served, p99=served["p95"] * 1.2),
        edges=EDGES,
        calls=Red(rows("edge_rate", EDGES), rows("edge_error_rate", EDGES), calls * 0.3, calls, calls * 1.2),
        server_p95=rows("edge_server", EDGES),
        attempts=rows("attempts", EDGES),
        gpus=GPUS,
        utilization=rows("utilization", GPUS),
        contended=np.full((len(GPUS), points), 0.1),
        memory_used=np.full((len(GPUS), points), 6e10),
        memory_total=np.full((len(GPUS), points), 8e10),
        power=np.full((len(GPUS), points), 400.0),
        temperature=np.full((len(GPUS), points), 60.0),
        tenants=TENANTS,
        busy=rows("busy", TENANTS),
        gpu_wait=np.full((len(TENANTS), points), 0.02),
        memory=np.full((len(TENANTS), points), 3e10),
        gpu_wait_pairs=GPU_WAIT_PAIRS,
        gpu_wait_by=rows("gpu_wait_by", GPU_WAIT_PAIRS),
        operations=(),
        operation_red=Red.empty(0, points),
        model_servers=ModelServers(services=(LLM,), **servers, replicas=REPLICAS, **replicas),
        capacity=Capacity(
            services=(LLM,),
            **{name: rows(name, (LLM,)) for name in ("wanted", "ready", "max_replicas", "pending")},
            pools=POOLS,
            **{name: rows(name, POOLS) for name in ("quota", "used")},
        ),
        network=Network(
            HOSTS,
            rows("nic", HOSTS),
            np.full((len(HOSTS), points), 1e7),
            **{name: rows(name, HOSTS) for name in ("retransmitted", "timeouts", "dropped")},
            memory=np.full((len(HOSTS), points), np.nan),
        ),
        hardware=Hardware(*(rows(name, GPUS) for name in ("clock", "throttled", "errors", "lost"))),
    )
    if remaining:
        raise KeyError(f"the platform has no {sorted(map(str, remaining))}")
    return built


def point(
    changes: Changes | None = None,
    points: int = POINTS,
    step: float = STEP,
    utilization: Utilization | None = None,
) -> EvaluationPoint:
    """The last grid point of the platform with some values changed. utilization: of the language model."""
    return last_point(world(changes, points, step), utilization)


def last_point(world: World, utilization: Utilization | None = None) -> EvaluationPoint:
    """The last grid point of a World, against its baselines. utilization: of the language model."""
    at = len(world.times) - 1
    return EvaluationPoint(world, at, baselines_at(world, at), utilizations={LLM: utilization} if utilization else {})


def learned_point(changes: Changes) -> EvaluationPoint:
    """The last grid point of the platform with some values changed, with utilization by its batching laws."""
    now = point(changes)
    laws = fit_batching_laws(now.world, now.column)
    return EvaluationPoint(now.world, now.column, now.baselines, utilizations=utilizations(now.world, now.column, laws))


def texts(actions: Sequence[Action]) -> str:
    """Texts of actions, one after another."""
    return " ".join(map(action_text, actions))
