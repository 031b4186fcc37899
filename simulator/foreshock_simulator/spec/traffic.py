"""Traffic from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Arrivals = Literal["azure-conversation", "azure-code", "mooncake", "servegen", "poisson", "gamma"]
Tokens = Literal["azure-conversation", "azure-code", "mooncake"]


@dataclass(frozen=True, slots=True)
class FlowSpec:
    """Requests of users to one operation.

    Args:
        name: unique; faults refer to it.
        service: target of the requests.
        route: operation of the service.
        rate: requests per second, mean over a day.
        arrivals: source of the burstiness; "gamma" has gaps with the coefficient of variation `cv`.
        tokens: source of the token counts.
        cv: see `arrivals`.
        diurnal: (highest − lowest) / (2 · mean) of the daily curve, 0 to 1.
        peak_hour: peak of the daily curve, UTC.
        weekend: rate on Saturday and Sunday relative to other days.
        timeout: after which the user gives up an attempt.
        attempts: of a user in all.
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
