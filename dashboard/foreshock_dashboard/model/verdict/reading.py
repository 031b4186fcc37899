"""A metric of a service beside its limit, and services by the state of their SLO."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Status = Literal["critical", "warning", "ok", "unknown"]
Metric = Literal["p95", "error rate", "load"]


@dataclass(frozen=True)
class Reading:
    """A metric of a service beside its limit, both in `unit`. usage: value / limit, above 1 beyond it."""

    service: str
    metric: Metric
    value: float
    limit: float
    limit_kind: Literal["SLO", "safe limit"]
    unit: Literal["s", "ratio"]
    usage: float
    status: Status


@dataclass(frozen=True)
class SloStatus:
    """Services with an SLO, by state, the worst that applies; and those without one, such as batch jobs.

    few: healthy, with too few requests to judge. unknown: without data. learned: of all with an SLO, those whose SLO
    is not configured.
    """

    breached: int
    degraded: int
    at_risk: int
    within: int
    without: int
    few: int = 0
    unknown: int = 0
    learned: int = 0

    @property
    def is_all_within(self) -> bool:
        """Whether every service has an SLO and is within it."""
        return not any((self.breached, self.degraded, self.at_risk, self.without, self.few, self.unknown))
