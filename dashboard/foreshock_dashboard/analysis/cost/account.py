"""Accounts of an hour: each GPU-second is allocated to services, unallocated, or of unknown use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.cost.ledger import CostHour, CostKey, Figure, HeldGpu, Holding, IdleRun
from foreshock_dashboard.model.cost.usage import GpuUsage
from foreshock_dashboard.model.service import Service, qualified
from foreshock_dashboard.model.types import Bools, Floats

Index = NDArray[np.intp]
"""GPU of each holder."""
MAX_IDLE_RATIO = 0.01
"""Share of time that a GPU may be busy and still count as unallocated: monitoring runs kernels, too."""
MAX_UNUSED_RATIO = 0.001
"""Busy share of a step up to which no kernel ran in it."""
MAX_LINES = 2000
"""Most lines of an hour; the smallest beyond are one line per pool and model. Names of jobs have no end."""
OTHER = "(other)"


def account(usage: GpuUsage, max_lines: int = MAX_LINES) -> CostHour:
    """The ledger's lines of an hour: their allocated GPU-seconds sum to those of the GPUs that reported.

    A holder has the fraction of its MIG instances. The rest of the GPU is divided among the others by their containers;
    without any it is unallocated, or of unknown use. Energy is an estimate: the idle power of a GPU goes to those that
    hold it, by what they hold, since it is drawn for all of them; what it draws beyond goes by busy share. Where the
    idle power is unknown, so is the energy of a holder, or of a rest, that is not busy while another one is.
    """
    gpu = np.array([holder.gpu for holder in usage.holders], np.intp)
    shares = _shares(usage, gpu)
    use = _use(usage, gpu)
    allocated = shares * usage.step
    rest = np.where(usage.present, 1.0 - _by_gpu(usage, gpu, shares), 0.0).clip(0.0) * usage.step
    rest[rest < 1e-6 * usage.step] = 0.0
    is_free = _is_unallocated(usage, gpu)
    busy_sum = _by_gpu(usage, gpu, np.nan_to_num(use.busy))
    is_busy = busy_sum > MAX_UNUSED_RATIO
    part = np.where(is_busy[gpu], np.nan_to_num(use.busy) / np.where(is_busy, busy_sum, 1.0)[gpu], shares)
    joules, activity = usage.watts * usage.step, np.minimum(usage.sm_active, usage.utilization)
    idle_watts = _idle_watts(usage)
    idle_joules = np.where(is_busy, np.fmin(joules, np.nan_to_num(idle_watts) * usage.step), joules)
    has_energy = np.isfinite(joules)[gpu] & (np.isfinite(idle_watts)[gpu] | (part > 0))
    energy = shares * idle_joules[gpu] + part * (joules - idle_joules)[gpu]
    known = np.isfinite(use.busy)
    ran = np.nan_to_num(use.busy) * usage.step
    busy = np.minimum(ran, allocated)
    waits = np.where(known, np.minimum(np.nan_to_num(use.waiting) * usage.step, allocated - busy), 0.0)
    idle = np.where(known, allocated - busy - waits, 0.0)
    is_counted = usage.is_counted[gpu][:, None]
    has_sm = known & np.isfinite(activity[gpu]) & is_busy[gpu]
    figures = {
        Figure.ALLOCATED: allocated,
        Figure.KNOWN: np.where(known, allocated, 0.0),
        Figure.BUSY: busy,
        Figure.BORROWED: ran - busy,
        Figure.WAITING: waits,
        Figure.IDLE: idle,
        Figure.UNUSED: np.where((use.busy <= MAX_UNUSED_RATIO) & is_counted, idle, 0.0),
        Figure.JOULES: np.nan_to_num(energy),
        Figure.POWERED: np.where(has_energy, allocated, 0.0),
        Figure.SM_BUSY: np.where(has_sm, ran, 0.0),
        Figure.SM_ACTIVE: np.where(has_sm, np.nan_to_num(part * activity[gpu]) * usage.step, 0.0),
        Figure.INFERRED: np.where(usage.given, 0.0, allocated),
        Figure.SAMPLED: np.where(known & ~is_counted, allocated, 0.0),
    }
    lines = _Lines(usage)
    rows = [lines.row(Holding.SERVICE, holder.service, holder.gpu) for holder in usage.holders]
    lines.add(rows, figures)
    for holding, mine in ((Holding.UNALLOCATED, is_free), (Holding.UNKNOWN, ~is_free)):
        left = np.where(mine, rest, 0.0)
        gpus = np.flatnonzero(left.sum(axis=1))
        left, power = left[gpus], (left * idle_joules / usage.step)[gpus]
        is_known = (np.isfinite(joules) & (np.isfinite(idle_watts) | ~is_busy))[gpus]
        lines.add(
            [lines.row(holding, None, row) for row in gpus.tolist()],
            {
                Figure.ALLOCATED: left,
                Figure.KNOWN: left if holding is Holding.UNALLOCATED else np.zeros_like(left),
                Figure.JOULES: np.nan_to_num(power),
                Figure.POWERED: np.where(is_known, left, 0.0),
                Figure.INFERRED: np.where(usage.shows_allocations[gpus][:, None], 0.0, left),
            },
        )
    names = [key for key, _ in sorted(lines.rows.items(), key=lambda item: item[1])]
    idle_runs = _idle_runs(usage, gpu, shares, use)
    in_use = {holder.service for i, holder in enumerate(usage.holders) if shares[i, -1] > 0 and i not in idle_runs}
    keys, values = _folded(names, lines.values[: len(names)], max_lines)
    return CostHour(
        float(usage.present.any(axis=0).sum()) * usage.step,
        keys,
        values,
        {HeldGpu(names[rows[i]], usage.gpus[usage.holders[i].gpu]): run for i, run in idle_runs.items()},
        usage.pausable - in_use,
        usage.requested & {holder.service for holder in usage.holders},
    )


def _idle_watts(usage: GpuUsage) -> Floats:
    """Idle power of each GPU, watts, shape (gpus, 1): its mean over the idle steps of the hour.

    Of a GPU that is never idle in it, the mean of the idle steps of its model; NaN where there is none.
    """
    watts = np.where(usage.present & (usage.utilization <= MAX_IDLE_RATIO) & np.isfinite(usage.watts), usage.watts, 0.0)
    steps = (watts > 0).sum(axis=1)
    model = np.unique([gpu.model for gpu in usage.gpus], return_inverse=True)[1]
    of_model = [np.bincount(model, weights=of_gpu)[model] for of_gpu in (watts.sum(axis=1), steps)]
    with np.errstate(invalid="ignore"):
        own, others = watts.sum(axis=1) / steps, of_model[0] / of_model[1]
    found: Floats = np.where(steps > 0, own, others)[:, None]
    return found


def _folded(keys: Sequence[CostKey], values: Floats, max_lines: int) -> tuple[tuple[CostKey, ...], Floats]:
    """The lines that hold something; the smallest of services beyond `max_lines` are one per cluster, pool, model."""
    rows = np.flatnonzero(values[:, Figure.ALLOCATED] > 0)
    small = set(rows[np.argsort(-values[rows, Figure.ALLOCATED], kind="stable")][max_lines:].tolist())
    found: dict[CostKey, int] = {}
    lines = []
    for row in rows.tolist():
        key = keys[row]
        if row in small and key.holding is Holding.SERVICE:
            key = key._replace(service=Service(qualified(key.cluster, ""), OTHER))
        lines.append(found.setdefault(key, len(found)))
    folded: Floats = np.zeros((len(found), len(Figure)))
    np.add.at(folded, np.array(lines, np.intp), values[rows])
    return tuple(found), folded.astype(np.float32)


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
    holds = (usage.held > 0) & usage.present[gpu]
    is_fixed = np.isfinite(usage.fraction)
    fixed = np.where(holds & is_fixed, np.nan_to_num(usage.fraction), 0.0)
    total = _by_gpu(usage, gpu, fixed)
    fixed = fixed / np.maximum(total, 1.0)[gpu]
    free = (1.0 - np.minimum(total, 1.0))[gpu]
    weights = np.where(holds & ~is_fixed, usage.held, 0.0)
    weight_sum = _by_gpu(usage, gpu, weights)[gpu]
    shares: Floats = fixed + free * np.divide(weights, weight_sum, out=np.zeros_like(weights), where=weight_sum > 0)
    return shares


class _Use(NamedTuple):
    """Busy and waiting share of each holder while it holds its GPU, and busy share of the GPU that no holder has."""

    busy: Floats
    waiting: Floats
    hidden: Floats


def _use(usage: GpuUsage, gpu: Index) -> _Use:
    """The use; NaN is unknown.

    A holder without a process is not busy where its exporter would show one, unless hidden processes use the GPU, or
    its utilization is unknown.
    """
    holds = (usage.held > 0) & usage.present[gpu]
    hidden = usage.utilization - _by_gpu(usage, gpu, np.where(holds, np.nan_to_num(usage.busy), 0.0))
    is_free = holds & ~_is_seen(usage) & usage.shows_processes[gpu][:, None] & (hidden <= MAX_IDLE_RATIO)[gpu]
    busy = np.where(holds & np.isfinite(usage.busy), usage.busy, np.where(is_free, 0.0, np.nan))
    return _Use(busy, np.where(np.isfinite(busy), usage.waiting, np.nan), hidden)


def _idle_runs(usage: GpuUsage, gpu: Index, shares: Floats, use: _Use) -> dict[int, IdleRun]:
    """By holder, the time up to the last step in each step of which counters show that none of its kernels ran.

    Without a process it is what uses the GPU unseen, if anything does.
    """
    most_hidden = np.where(_is_seen(usage), MAX_IDLE_RATIO, MAX_UNUSED_RATIO)
    is_idle: Bools = (
        (shares > 0)
        & usage.is_counted[gpu][:, None]
        & (use.busy <= MAX_UNUSED_RATIO)
        & (np.nan_to_num(use.waiting) <= MAX_UNUSED_RATIO)
        & (use.hidden[gpu] <= most_hidden)
    )
    run: Bools = np.minimum.accumulate(is_idle[:, ::-1], axis=1)[:, ::-1]
    seconds = run.sum(axis=1) * usage.step
    least = np.where(run, shares, 1.0).min(axis=1, initial=1.0)
    measured: Bools = np.all(usage.given | ~run, axis=1)
    return {
        i: IdleRun(float(seconds[i]), round(float(least[i]), 4), bool(measured[i]))
        for i in np.flatnonzero(seconds).tolist()
    }


def _is_seen(usage: GpuUsage) -> Bools:
    seen: Bools = np.array([holder.is_process_seen for holder in usage.holders], bool)[:, None]
    return seen


def _is_unallocated(usage: GpuUsage, gpu: Index) -> Bools:
    """Whether what no holder has of a GPU is known to be free, shape (gpus, steps).

    It is where allocations are shown, or processes, and counters show an idle GPU. On a GPU with holders by allocation,
    the rest is a MIG part.
    """
    is_held = _by_gpu(usage, gpu, ((usage.held > 0) & usage.present[gpu]).astype(np.float64)) > 0
    is_idle = (usage.utilization <= MAX_IDLE_RATIO) & usage.is_counted[:, None]
    shows = usage.shows_allocations[:, None] & (is_idle | is_held)
    free: Bools = shows | (usage.shows_processes[:, None] & is_idle & ~is_held)
    return free
