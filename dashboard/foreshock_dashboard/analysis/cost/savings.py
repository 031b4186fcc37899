"""Savings: idle GPUs to give back, GPUs that services could share, GPU wait, and unallocated GPUs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from foreshock_dashboard.model.cost.ledger import CostKey, Figure, Holding
from foreshock_dashboard.model.cost.report import Saving, SavingKind
from foreshock_dashboard.model.incident import Quality
from foreshock_dashboard.model.types import Floats

MAX_SAVINGS = 10
IDLE_WINDOW_SECONDS = 6 * 3600.0
"""Time without a kernel from which a GPU may be given back."""
MIN_IDLE_SECONDS = 1800.0
"""The same for what has held GPUs for a shorter time."""
SAME_RATIO = 0.95
"""Share from which two numbers of GPUs count as the same: steps of a rollout overlap."""
MIN_SHARE_SECONDS = 6 * 3600.0
"""Time with data from which sharing is proposed: it must hold in the busiest hour."""
MIN_GPUS = 0.05
"""Least GPUs at a time that are worth an action."""
MAX_SHARED_BUSY = 0.35
"""Busy share in the busiest hour up to which two such services share a GPU: both fit with a third to spare."""
MAX_SHARED_MEMORY = 0.45
"""Highest used share of memory up to which two such services share a GPU."""
MAX_SLICE_USE = 0.7
"""Share of a MIG instance's compute that may be used in the busiest hour."""
MIG_MODELS = ("A100", "H100", "H200", "B200")
"""GPUs with 7 compute and 8 memory slices (NVIDIA Multi-Instance GPU User Guide, supported GPUs and profiles)."""
MIG_PROFILES = ((1, 1 / 8), (2, 2 / 8), (3, 4 / 8))
"""Compute slices and memory share of the profiles that leave room for another one."""


def savings(
    keys: Sequence[CostKey], hours: Floats, covered: Floats, hourly: Mapping[CostKey, float]
) -> tuple[Saving, ...]:
    """The largest savings, by money where it is known, then by GPU-hours; GPU wait comes last, as it frees no GPU.

    hours: figures by key, hour, and figure. covered: seconds with data of each hour. hourly: prices of GPU-hours.
    """
    found = [item for i, key in enumerate(keys) for item in _of_line(key, hours[i], covered, hourly[key])]
    found.sort(key=_order)
    return tuple(found[:MAX_SAVINGS])


def _order(item: Saving) -> tuple[object, ...]:
    amounts = -float(np.nan_to_num(item.money_per_day)), -item.gpu_hours_per_day
    return item.kind is SavingKind.SEPARATE, *amounts, item.key.pool, str(item.key.service)


def _of_line(key: CostKey, hours: Floats, covered: Floats, hourly: float) -> Iterator[Saving]:
    """hours: figures of a line, shape (hours, figures)."""
    hours = hours.astype(np.float64)
    sums = hours.sum(axis=0)
    quality: Quality = "inferred" if sums[Figure.INFERRED] > 0 else "measured"
    if key.holding is Holding.UNKNOWN or not covered.sum() > 0:
        return
    idle = _idle(hours, covered)
    if key.holding is Holding.UNALLOCATED:
        if idle:
            yield Saving(SavingKind.SHRINK, key, idle[0], idle[1], quality, hourly, hours_per_day=idle[2])
        return
    held = float(hours[-1, Figure.ALLOCATED] / covered[-1])
    if idle:
        gpus, seconds, hours_per_day = idle
        is_all = gpus >= SAME_RATIO * held
        yield Saving(SavingKind.RELEASE, key, gpus, seconds, quality, hourly, hours_per_day, is_all=is_all)
    elif (shared := _sharing(key, hours, covered)) is not None:
        slices, use = shared
        gpus = held * (1 - slices / 7 if slices else 0.5)
        if gpus >= MIN_GPUS:
            seconds = float(covered.sum())
            yield Saving(SavingKind.SHARE, key, gpus, seconds, "inferred", hourly, use=use, slices=slices)
    waiting = float(sums[Figure.WAITING] / covered.sum())
    if waiting >= MIN_GPUS:
        yield Saving(SavingKind.SEPARATE, key, waiting, float(covered.sum()), "sampled", hourly)


def _idle(hours: Floats, covered: Floats) -> tuple[float, float, float] | None:
    """GPUs that ran no kernel, for how many seconds, and for how many hours a day; None if too few or too short.

    They are those idle throughout the last `IDLE_WINDOW_SECONDS`, or since the line began to hold GPUs.
    """
    first = int(np.argmax(hours[:, Figure.ALLOCATED] > 0))
    unused, covered = hours[first:, Figure.UNUSED] / covered[first:], covered[first:]
    back = np.cumsum(covered[::-1])
    window = int(np.searchsorted(back, IDLE_WINDOW_SECONDS)) + 1
    gpus = float(unused[-window:].min())
    if gpus < MIN_GPUS or back[min(window, len(back)) - 1] < MIN_IDLE_SECONDS:
        return None
    lasting = np.flatnonzero(unused < SAME_RATIO * gpus)
    seconds = float(covered[lasting[-1] + 1 if len(lasting) else 0 :].sum())
    mean = float((unused * covered).sum() / covered.sum())
    return gpus, seconds, 24 * min(1.0, mean / gpus)


def _sharing(key: CostKey, hours: Floats, covered: Floats) -> tuple[int, float] | None:
    """MIG slices that suffice in the busiest hour, or 0 for time slicing, and the mean busy share; None if neither.

    Only a service that had whole GPUs to itself, whose use and memory are known: sharing adds latency, and too
    little memory ends processes.
    """
    allocated = hours[:, Figure.ALLOCATED]
    with_data = allocated > 0
    known, memory = hours[:, Figure.KNOWN], float(hours[:, Figure.MEMORY].max())
    if covered[with_data].sum() < MIN_SHARE_SECONDS or not memory > 0 or (known < 0.95 * allocated).any():
        return None
    gpus = allocated[with_data] / covered[with_data]
    if not np.allclose(gpus, np.round(gpus), atol=0.02):  # a part of a GPU: it is shared already
        return None
    busiest = float((hours[with_data, Figure.BUSY] / allocated[with_data]).max())
    mean = float(hours[:, Figure.BUSY].sum() / allocated.sum())
    sm_busy = float(hours[:, Figure.SM_BUSY].sum())
    if sm_busy > 0 and any(name in key.model for name in MIG_MODELS):
        compute = busiest * float(hours[:, Figure.SM_ACTIVE].sum()) / sm_busy
        for slices, memory_share in MIG_PROFILES:
            if compute <= MAX_SLICE_USE * slices / 7 and memory <= 0.9 * memory_share:
                return slices, mean
    if busiest <= MAX_SHARED_BUSY and memory <= MAX_SHARED_MEMORY:
        return 0, mean
    return None
