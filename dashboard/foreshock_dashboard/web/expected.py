"""What is expected of a service, beside what it promises. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

from foreshock_dashboard.model.outlook import Promise
from foreshock_dashboard.model.query import Json
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.numbers import number


class Expected:
    """What the outlook says of services, by service."""

    def __init__(self, snapshot: Snapshot) -> None:
        found = snapshot.outlook
        self._promises: Mapping[Service, Promise] = {each.service: each for each in found.promises}
        self._risks = {each.service: each for each in found.risks}
        self._loads = {each.service: each for each in found.loads}
        self._uneven = {each.service: each.ratio for each in found.imbalance}

    def of(self, who: Service, p95: float | None, failed: float | None) -> Json:
        """`used`: how much of its objective a service uses, the larger of duration and failures; above 1 it misses it.

        breach: seconds until it may miss it (with a chance of one half), None where that is not in sight.
        """
        promise, risk, load = self._promises.get(who), self._risks.get(who), self._loads.get(who)
        parts = [
            value / limit
            for value, limit in ((p95, promise.seconds), (failed, promise.failed))
            if value is not None and limit > 0
        ] if promise else []  # fmt: skip
        return {
            "promise": None
            if promise is None
            else {
                "seconds": number(promise.seconds),
                "failed": number(promise.failed),
                "learned": promise.learned,
            },
            "used": number(max(parts)) if parts else None,
            "risk": None if risk is None else number(risk.chance),
            "breach": None if risk is None else number(risk.p50),
            "load": None if load is None else number(load.ratio),
            "safe": None if load is None else number(load.safe),
            "uneven": number(self._uneven.get(who, math.nan)),
        }
