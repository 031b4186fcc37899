"""What is expected of a service, beside what it promises. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.model.forecast import Slo
from foreshock_dashboard.model.incident import AtRisk
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.web.state.numbers import number

RISK_HORIZON_SECONDS = 600.0
"""Seconds within which the chance of missing an objective is told."""


def breach_probability(told: AtRisk, within: float) -> float:
    """The chance that an objective is missed within so many seconds, 0…1, from the times that are told of it."""
    if told.p50 <= 0:
        return 1.0
    times = ((0.1, told.p10), (0.2, told.p20), (0.5, told.p50), (0.8, told.p80), (0.9, told.p90))
    known = [each for each in times if math.isfinite(each[1])]
    shares, seconds = [share for share, _ in known], [time for _, time in known]
    return float(np.interp(within, seconds, shares, left=0.0)) if known else 0.0


class ServiceForecasts:
    """What the outlook says of services, by service."""

    def __init__(self, snapshot: Snapshot) -> None:
        found = snapshot.forecast
        self._promises: Mapping[Service, Slo] = {each.service: each for each in found.slos}
        self._breaches = {each.service: each.p50 for each in found.risks}
        self._chances = {each.service: each.chance for each in found.risks}
        for item in reversed(snapshot.incidents):  # what the incident says is what all other pages say
            for each in item.at_risk if item.phase != "over" else ():
                self._breaches[each.service] = each.p50
                self._chances[each.service] = max(
                    self._chances.get(each.service, 0.0), breach_probability(each, RISK_HORIZON_SECONDS)
                )
        self._loads = {each.service: each for each in found.loads}
        self._uneven = {each.service: each.ratio for each in found.imbalance}

    def used(self, who: Service, p95: float | None, failed: float | None) -> float | None:
        """How much of its objective a service uses, the larger of duration and failures; above 1 it misses it.

        None where it has none, or nothing is known of it now.
        """
        if (promise := self._promises.get(who)) is None:
            return None
        pairs = ((p95, promise.seconds), (failed, promise.failed))
        return max((value / limit for value, limit in pairs if value is not None and limit > 0), default=None)

    def of(self, who: Service, p95: float | None, failed: float | None) -> Json:
        """All of it. breach: seconds until it may miss it (with a chance of one half), None where not in sight."""
        promise, load = self._promises.get(who), self._loads.get(who)
        used = self.used(who, p95, failed)
        return {
            "promise": None
            if promise is None
            else {
                "seconds": number(promise.seconds),
                "failed": number(promise.failed),
                "learned": promise.learned,
            },
            "used": None if used is None else number(used),
            "risk": number(self._chances.get(who, math.nan)),
            "breach": number(self._breaches.get(who, math.nan)),
            "load": None if load is None else number(load.ratio),
            "safe": None if load is None else number(load.safe),
            "uneven": number(self._uneven.get(who, math.nan)),
        }
