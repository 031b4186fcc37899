"""The cost of a time range: who held which GPU time, and what could be saved."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum

from foreshock_dashboard.model.cost.ledger import CostKey
from foreshock_dashboard.model.incident import Quality


@dataclass(frozen=True, slots=True)
class CostRow:
    """GPU time of a line, GPU-seconds; NaN where unknown. hourly: price of a GPU-hour.

    use_known: the part of `allocated` whose use is known; `busy`, `waiting`, `idle`, and `unused` are of it. sm_active:
    SM activity while busy, 0 to 1. joules: estimate. memory: highest used share of a GPU's memory. inferred: the part
    of `allocated` that rests on processes alone.
    """

    key: CostKey
    allocated: float
    use_known: float
    busy: float
    waiting: float
    idle: float
    unused: float
    joules: float
    sm_active: float
    memory: float
    inferred: float
    hourly: float = math.nan

    @property
    def money(self) -> float:
        """Price of what it held."""
        return self.allocated / 3600 * self.hourly


class SavingKind(StrEnum):
    """What to do: give back idle GPUs, share a GPU, keep neighbors apart, or shrink a pool."""

    RELEASE = "release"
    SHARE = "share"
    SEPARATE = "separate"
    SHRINK = "shrink"


@dataclass(frozen=True, slots=True)
class Saving:
    """What an action saves. gpus: GPUs at a time, an upper bound. seconds: how long it has been so.

    hours_per_day: for which they can be saved. use: busy share, 0 to 1; NaN where it does not matter. is_all: whether
    the service uses none of its GPUs. slices: MIG slices that suffice, 0 for time slicing or no sharing.
    """

    kind: SavingKind
    key: CostKey
    gpus: float
    seconds: float
    quality: Quality
    hourly: float = math.nan
    hours_per_day: float = 24.0
    use: float = math.nan
    is_all: bool = False
    slices: int = 0

    @property
    def gpu_hours_per_day(self) -> float:
        """GPU-hours saved per day."""
        return self.gpus * self.hours_per_day

    @property
    def money_per_day(self) -> float:
        """Money saved per day; NaN without a price."""
        return self.gpu_hours_per_day * self.hourly


@dataclass(frozen=True, slots=True)
class CostReport:
    """A time range. start, end: Unix seconds. seconds: of it with data. rows: they sum to the fleet's GPU time.

    unread: whether older hours of the range are still to be read.
    """

    start: float
    end: float
    seconds: float
    currency: str
    rows: tuple[CostRow, ...] = field(default=(), repr=False)
    savings: tuple[Saving, ...] = field(default=(), repr=False)
    unread: bool = False
