"""Holdings without a kernel: which GPUs, and for how long, from the hours of a ledger."""

from __future__ import annotations

import math
from collections.abc import Callable

from foreshock_dashboard.model.cost.ledger import HOUR_SECONDS, CostKey, CostLedger, HeldGpu, IdleRun
from foreshock_dashboard.model.cost.report import LASTING_SECONDS, IdleHolding
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import gpu_order

MIN_IDLE_SECONDS = 1800.0
"""Time without a kernel from which a holding is idle."""
MAX_IDLE_HOURS = 7 * 24
"""Hours that idle time is followed back."""


def idle_holdings(ledger: CostLedger, end: float, hourly: Callable[[CostKey], float]) -> tuple[IdleHolding, ...]:
    """Idle holdings at `end` (Unix seconds), by money where it is known, then by GPU-hours.

    Of a line, GPUs idle for `LASTING_SECONDS`; without any, those idle for `MIN_IDLE_SECONDS`. None may be paused by
    data of the past, or after a read that failed, nor if it had requests within `LASTING_SECONDS`: it may answer them
    without a kernel.
    """
    runs = _runs(ledger, end)
    lines: dict[CostKey, list[tuple[HeldGpu, IdleRun]]] = {}
    in_use: set[Service | None] = set()  # services with a GPU that may not be given back
    for held, run in runs.items():
        lines.setdefault(held.key, []).append((held, run))
        if run.seconds < LASTING_SECONDS or not run.is_measured:
            in_use.add(held.key.service)
    for start, earlier in ledger.hours.items():
        if end - LASTING_SECONDS - HOUR_SECONDS < start < end:
            in_use |= earlier.requested
    hour = ledger.hours.get(_start(end))
    is_current = end == ledger.end and not ledger.error
    pausable = hour.pausable - in_use if hour and is_current else frozenset()
    found = []
    for key, items in lines.items():
        lasting = [item for item in items if item[1].seconds >= LASTING_SECONDS]
        items = lasting or [item for item in items if item[1].seconds >= MIN_IDLE_SECONDS]
        if items:
            found.append(_holding(key, items, hourly(key), can_pause=key.service in pausable))
    found.sort(key=lambda item: (-_known(item.money), -item.gpu_seconds, item.key.pool, str(item.key.service)))
    return tuple(found)


def _holding(key: CostKey, items: list[tuple[HeldGpu, IdleRun]], hourly: float, can_pause: bool) -> IdleHolding:
    return IdleHolding(
        key,
        on=tuple(sorted((held.gpu for held, _ in items), key=gpu_order)),
        gpus=round(math.fsum(run.gpus for _, run in items), 3),
        seconds=min(run.seconds for _, run in items),
        gpu_seconds=math.fsum(run.gpus * run.seconds for _, run in items),
        quality="measured" if all(run.is_measured for _, run in items) else "inferred",
        hourly=hourly,
        can_pause=can_pause,
    )


def _runs(ledger: CostLedger, end: float) -> dict[HeldGpu, IdleRun]:
    """Idle time up to `end` of each GPU of each line; an hour without data ends it."""
    start = _start(end)
    hour = ledger.hours.get(start)
    runs = dict(hour.idle) if hour else {}
    lasting = [held for held, run in runs.items() if run.seconds >= end - start]
    for _ in range(MAX_IDLE_HOURS):
        start -= HOUR_SECONDS
        hour = ledger.hours.get(start)
        if not lasting or hour is None:
            break
        further = []
        for held in lasting:
            before = hour.idle.get(held)
            if before is not None:
                runs[held] = _joined(before, runs[held])
                if before.seconds >= HOUR_SECONDS:
                    further.append(held)
        lasting = further
    return runs


def _joined(before: IdleRun, run: IdleRun) -> IdleRun:
    return IdleRun(before.seconds + run.seconds, min(before.gpus, run.gpus), before.is_measured and run.is_measured)


def _start(end: float) -> float:
    """Start of the hour that ends at `end`, or in which it is."""
    return (math.ceil(end / HOUR_SECONDS) - 1) * HOUR_SECONDS


def _known(value: float) -> float:
    return value if math.isfinite(value) else 0.0
