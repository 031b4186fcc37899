"""Request rates of ServeGen: two weeks of real clients of model servers in windows of ten minutes."""

from __future__ import annotations

import csv
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats

POINTS = 2016
"""Windows of two weeks; shorter traces are left out."""
MIN_RATE = 0.05
"""Requests per second, below which a client is no service."""
GAP_RATIO = 0.05
"""Share of the median rate of all clients of a model, below which a window is a gap of the trace or an outage."""
GROUPS = 6
"""Services of several clients, per model."""
Split = Literal["dev", "heldout"]


class RealService(NamedTuple):
    """Requests per second, shape (`POINTS`,), NaN in gaps. is_sum: of several clients."""

    name: str
    rate: Floats
    is_sum: bool


def real_services(folder: Path, split: Split, clients: int | None = None) -> list[RealService]:
    """Single clients, and sums of clients per model and of random groups of them. No client is in both splits.

    clients: number of single clients, drawn by hash; None is all.

    Raises:
        FileNotFoundError: the folder has no traces.
    """
    by_model: dict[str, dict[str, Floats]] = defaultdict(dict)
    for path in sorted(folder.glob("*/*/*.csv")):
        rate = _rates(path)
        if len(rate) == POINTS:
            by_model["/".join(path.relative_to(folder).parts[:2])][path.stem] = rate
    if not by_model:
        raise FileNotFoundError(f"{folder}: no traces of two weeks (CATEGORY/MODEL/*.csv)")
    singles: list[RealService] = []
    sums: list[RealService] = []
    for model, rates in by_model.items():
        total = np.sum([*rates.values()], axis=0)
        gap = total < GAP_RATIO * np.median(total)
        own = {name: rate for name, rate in rates.items() if _number(f"{model}/{name}") % 2 == (split == "heldout")}
        groups: Mapping[int, list[Floats]] = defaultdict(list)
        for name, rate in own.items():
            singles.append(_service(f"{model}/{name}", [rate], gap))
            half, _ = divmod(_number(f"{model}/{name}"), 2)
            groups[half % GROUPS].append(rate)
        sums.append(_service(model, [*own.values()], gap))
        sums += [_service(f"{model}/group-{row}", part, gap) for row, part in groups.items() if len(part) > 1]
    chosen = sorted(singles, key=lambda service: _number(service.name))[:clients]
    return [service for service in chosen + sums if np.nanmean(service.rate) >= MIN_RATE]


def _rates(path: Path) -> Floats:
    with path.open(encoding="utf-8") as lines:
        return np.array([float(row[1]) for row in csv.reader(lines) if row])


def _service(name: str, rates: list[Floats], gap: Floats) -> RealService:
    total: Floats = np.where(gap, np.nan, np.sum(rates, axis=0))
    return RealService(name, total, len(rates) > 1)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
