"""Accounts of an hour: each GPU-second is allocated to services, unallocated, or of unknown use."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.cost.ledger import CostHour, CostKey, Figure, Holding
from foreshock_dashboard.model.cost.usage import Flags, GpuUsage
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

Index = NDArray[np.intp]
"""GPU of each holder."""
MAX_IDLE_RATIO = 0.01
"""Share of time that a GPU may be busy and still count as unallocated: monitoring runs kernels, too."""
MAX_UNUSED_RATIO = 0.001
"""Busy share of a step up to which no kernel ran in it."""


def account(usage: GpuUsage) -> CostHour:
    """The ledger's lines of an hour: their allocated GPU-seconds sum to those of the GPUs that reported.

    A holder has the fraction of its MIG instances. The rest of the GPU is divided among the others by their containers;
    without any it is unallocated, or of unknown use. Energy goes to holders by busy share: an estimate.
    """
    gpu = np.array([holder.gpu for holder in usage.holders], np.intp)
    shares = _shares(usage, gpu)
    busy, waiting = _use(usage, gpu)
    allocated = shares * usage.step
    rest = np.where(usage.present, 1.0 - _by_gpu(usage, gpu, shares), 0.0).clip(0.0) * usage.step
    rest[rest < 1e-6 * usage.step] = 0.0
    is_free = _is_unallocated(usage, gpu)
    busy_sum = _by_gpu(usage, gpu, np.nan_to_num(busy))
    is_busy = busy_sum > MAX_UNUSED_RATIO
    part = np.where(is_busy[gpu], np.nan_to_num(busy) / np.where(is_busy, busy_sum, 1.0)[gpu], shares)
    joules, activity = usage.watts * usage.step, np.minimum(usage.sm_active, usage.utilization)
    of_rest = np.where(is_busy, 0.0, rest / usage.step)
    known = np.isfinite(busy)
    seconds = np.nan_to_num(busy) * usage.step
    waits = np.minimum(np.nan_to_num(waiting) * usage.step, (allocated - seconds).clip(0.0))
    has_sm = known & np.isfinite(activity[gpu]) & is_busy[gpu]
    figures = {
        Figure.ALLOCATED: allocated,
        Figure.KNOWN: np.where(known, allocated, 0.0),
        Figure.BUSY: seconds,
        Figure.WAITING: waits,
        Figure.IDLE: np.where(known, (allocated - seconds - waits).clip(0.0), 0.0),
        Figure.UNUSED: np.where(known & (np.nan_to_num(busy) <= MAX_UNUSED_RATIO), allocated, 0.0),
        Figure.JOULES: np.nan_to_num(part * joules[gpu]),
        Figure.POWERED: np.where(np.isfinite(joules[gpu]), allocated, 0.0),
        Figure.SM_BUSY: np.where(has_sm, seconds, 0.0),
        Figure.SM_ACTIVE: np.where(has_sm, np.nan_to_num(part * activity[gpu]) * usage.step, 0.0),
        Figure.INFERRED: np.where(usage.shows_allocations[gpu][:, None], 0.0, allocated),
    }
    lines = _Lines(usage)
    rows = [lines.row(Holding.SERVICE, holder.service, holder.gpu) for holder in usage.holders]
    lines.add(rows, figures)
    if rows:
        np.maximum.at(lines.values[:, Figure.MEMORY], rows, np.nan_to_num(usage.memory).max(axis=1))
    for holding, mine in ((Holding.UNALLOCATED, is_free), (Holding.UNKNOWN, ~is_free)):
        left = np.where(mine, rest, 0.0)
        gpus = np.flatnonzero(left.sum(axis=1))
        left, power, watts = left[gpus], np.where(mine, of_rest * joules, 0.0)[gpus], joules[gpus]
        of_use = left if holding is Holding.UNALLOCATED else np.zeros_like(left)
        lines.add(
            [lines.row(holding, None, row) for row in gpus.tolist()],
            {
                Figure.ALLOCATED: left,
                Figure.KNOWN: of_use,
                Figure.IDLE: of_use,
                Figure.UNUSED: of_use,
                Figure.JOULES: np.nan_to_num(power),
                Figure.POWERED: np.where(np.isfinite(watts), left, 0.0),
                Figure.INFERRED: np.where(usage.shows_allocations[gpus][:, None], 0.0, left),
            },
        )
    kept = [(key, row) for key, row in lines.rows.items() if lines.values[row, Figure.ALLOCATED] > 0]
    values: Floats = np.zeros((len(kept), len(Figure)), np.float32)
    values[:] = lines.values[[row for _, row in kept]]
    return CostHour(float(usage.present.any(axis=0).sum()) * usage.step, tuple(key for key, _ in kept), values)


class _Lines:
    """Lines of an hour. rows: their rows in `values`, shape (lines, figures)."""

    def __init__(self, usage: GpuUsage) -> None:
        self._usage = usage
        self.rows: dict[CostKey, int] = {}
        self.values: Floats = np.zeros((len(usage.holders) + 2 * len(usage.gpus), len(Figure)))

    def row(self, holding: Holding, service: Service | None, gpu: int) -> int:
        """The row of a line, which may be new."""
        key = CostKey(holding, service, self._usage.pool[gpu], self._usage.gpus[gpu].model)
        return self.rows.setdefault(key, len(self.rows))

    def add(self, rows: list[int], figures: Mapping[Figure, Floats]) -> None:
        """Add figures, each of shape (rows, steps), to lines."""
        for figure, values in figures.items():
            np.add.at(self.values[:, figure], np.array(rows, np.intp), values.sum(axis=1))


def _by_gpu(usage: GpuUsage, gpu: Index, values: Floats) -> Floats:
    """Sums of the rows of holders, shape (gpus, steps)."""
    sums: Floats = np.zeros(usage.present.shape)
    np.add.at(sums, gpu, values)
    return sums


def _shares(usage: GpuUsage, gpu: Index) -> Floats:
    """Share of its GPU that each holder has, shape (holders, steps): 0 while it does not hold it."""
    holds = usage.held & usage.present[gpu]
    fraction = np.array([holder.fraction for holder in usage.holders])[:, None]
    weight = np.array([holder.weight for holder in usage.holders])[:, None]
    is_fixed = np.isfinite(fraction)
    fixed = np.where(holds & is_fixed, np.nan_to_num(fraction), 0.0)
    total = _by_gpu(usage, gpu, fixed)
    fixed = fixed / np.maximum(total, 1.0)[gpu]
    free = (1.0 - np.minimum(total, 1.0))[gpu]
    weights = np.where(holds & ~is_fixed, weight, 0.0)
    weight_sum = _by_gpu(usage, gpu, weights)[gpu]
    shares: Floats = fixed + free * np.divide(weights, weight_sum, out=np.zeros_like(weights), where=weight_sum > 0)
    return shares


def _use(usage: GpuUsage, gpu: Index) -> tuple[Floats, Floats]:
    """Busy and waiting share of each holder while it holds the GPU.

    A holder without a process is not busy where its exporter would show one, unless hidden processes use the GPU.
    """
    holds = usage.held & usage.present[gpu]
    others = _by_gpu(usage, gpu, np.where(holds, np.nan_to_num(usage.busy), 0.0))
    hidden = np.nan_to_num(usage.utilization - others) > MAX_IDLE_RATIO
    is_seen = np.array([holder.is_process_seen for holder in usage.holders], bool)[:, None]
    is_free = holds & ~is_seen & usage.shows_processes[gpu][:, None] & ~hidden[gpu]
    busy = np.where(holds & np.isfinite(usage.busy), usage.busy, np.where(is_free, 0.0, np.nan))
    return busy, np.where(np.isfinite(busy), usage.waiting, np.nan)


def _is_unallocated(usage: GpuUsage, gpu: Index) -> Flags:
    """Whether what no holder has of a GPU is known to be free, shape (gpus, steps).

    It is where allocations are shown, or processes, and the GPU is idle. On a GPU with holders the rest is a MIG part.
    """
    is_held = _by_gpu(usage, gpu, (usage.held & usage.present[gpu]).astype(np.float64)) > 0
    is_idle = usage.utilization <= MAX_IDLE_RATIO
    shows = usage.shows_allocations[:, None] & (is_idle | np.isnan(usage.utilization) | is_held)
    free: Flags = shows | (usage.shows_processes[:, None] & is_idle & ~is_held)
    return free
