"""Traffic from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arrivals = Literal["azure-conversation", "azure-code", "mooncake", "servegen", "poisson", "gamma"]
Tokens = Literal["azure-conversation", "azure-code", "mooncake"]


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """Requests from outside to one operation.

    Args:
        name: unique; faults refer to it.
        service: and `route`: what is asked.
        rate: requests a second, in the mean over a day.
        arrivals: whose burstiness; "gamma" has the coefficient of variation `cv` between two arrivals.
        tokens: whose prompts and answers.
        diurnal: (highest − lowest) / (2 · mean) of the daily curve, 0 to 1; its peak is `peak_hour` (UTC).
        weekend: the level on Saturday and Sunday relative to other days.
        timeout: after which the user gives up, and tries again, `attempts` in all.
    """

    name: str
    service: str
    route: str
    rate: float
    arrivals: Arrivals = "azure-conversation"
    tokens: Tokens = "azure-conversation"
    cv: float = 1.0
    diurnal: float = 0.0
    peak_hour: float = 14.0
    weekend: float = 1.0
    timeout: float = 60.0
    attempts: int = 1
