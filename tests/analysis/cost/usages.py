"""Uses of GPUs for tests, by step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from foreshock_dashboard.model.cost.usage import GpuUsage, Holder
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Gpu

STEP = 600.0
STEPS = 6


def service(name: str) -> Service:
    """A service of one namespace."""
    return Service("ml", name)


def rows(values: Sequence[ArrayLike]) -> Floats:
    """One value or one per step for each row."""
    return np.array([np.broadcast_to(np.asarray(row, np.float64), STEPS) for row in values]).reshape(-1, STEPS)


class Held(NamedTuple):
    """A service on a GPU: with how many containers, which MIG fraction of it, and whether a process is seen."""

    gpu: int
    service: Service
    weight: float
    fraction: float
    process: bool


def usage(
    gpus: int = 1,
    holders: Sequence[Held] = (),
    busy: Sequence[ArrayLike] = (),
    *,
    waiting: Sequence[ArrayLike] | None = None,
    utilization: Sequence[ArrayLike] | None = None,
    watts: float = 300.0,
    sm_active: float = np.nan,
    present: Sequence[ArrayLike] | None = None,
    held: Sequence[ArrayLike] | None = None,
    given: bool = True,
    allocations: bool = True,
    processes: bool = True,
    counted: bool = True,
    pools: Sequence[str] = (),
    pausable: Iterable[str] = (),
    requested: Iterable[str] = (),
) -> GpuUsage:
    """An hour. A GPU's utilization is the sum of its holders' by default."""
    own = rows(busy)
    if utilization is None:
        total = np.zeros((gpus, STEPS))
        for holder, row in zip(holders, own, strict=True):
            total[holder.gpu] += np.nan_to_num(row)
        utilization = list(total.clip(0, 1))
    n = len(holders)
    return GpuUsage(
        step=STEP,
        gpus=tuple(Gpu("host-1", str(i), f"GPU-{i}", "NVIDIA H100 80GB HBM3") for i in range(gpus)),
        pool=tuple(pools) or ("chat",) * gpus,
        present=rows(present if present is not None else [1] * gpus).astype(bool),
        utilization=rows(utilization),
        watts=np.full((gpus, STEPS), watts),
        sm_active=np.full((gpus, STEPS), sm_active),
        shows_allocations=np.full(gpus, allocations),
        shows_processes=np.full(gpus, processes),
        is_counted=np.full(gpus, counted),
        holders=tuple(Holder(holder.gpu, holder.service, holder.process) for holder in holders),
        held=rows(held if held is not None else [1] * n) * rows([holder.weight for holder in holders]),
        fraction=rows([holder.fraction for holder in holders]),
        given=np.full((n, STEPS), given),
        busy=own,
        waiting=rows(waiting if waiting is not None else [0] * n),
        pausable=frozenset(map(service, pausable)),
        requested=frozenset(map(service, requested)),
    )


def holder(name: str, gpu: int = 0, *, weight: float = 1.0, fraction: float = np.nan, process: bool = True) -> Held:
    """A service on a GPU."""
    return Held(gpu, service(name), weight, fraction, process)
