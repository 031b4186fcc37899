"""The forecast of each service, beside its SLO. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from typing_extensions import TypedDict

from foreshock_dashboard.model.forecast import ServiceSlo
from foreshock_dashboard.model.incident import AtRisk
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.web.state.numbers import number, rounded

RISK_HORIZON_SECONDS = 600.0
"""Horizon of the probability of an SLO breach."""


def breach_probability(risk: AtRisk, within: float) -> float:
    """Probability 0…1 of an SLO breach within some seconds, interpolated from the quantiles of a risk."""
    if risk.p50 <= 0:
        return 1.0
    times = ((0.1, risk.p10), (0.2, risk.p20), (0.5, risk.p50), (0.8, risk.p80), (0.9, risk.p90))
    known = [item for item in times if math.isfinite(item[1])]
    shares, seconds = [share for share, _ in known], [time for _, time in known]
    return float(np.interp(within, seconds, shares, left=0.0)) if known else 0.0


class SloJson(TypedDict):
    """An SLO: bounds of p95 and of the share of failed requests."""

    seconds: float
    failed: float
    learned: bool


class ServiceForecast(TypedDict):
    """The SLO of a service, its used share, the risk of a breach, and the load."""

    promise: SloJson | None
    used: float | None
    risk: float | None
    breach: float | None
    load: float | None
    safe: float | None
    uneven: float | None


class ServiceForecasts:
    """The forecasts of a snapshot, by service."""

    def __init__(self, snapshot: Snapshot) -> None:
        forecast = snapshot.forecast
        self._slos: Mapping[Service, ServiceSlo] = {item.service: item for item in forecast.slos}
        self._breaches = {item.service: item.p50 for item in forecast.risks}
        self._chances = {item.service: item.chance for item in forecast.risks}
        for item in reversed(snapshot.incidents):  # incidents win, so that all pages agree
            for risk in item.at_risk if item.phase != "over" else ():
                self._breaches[risk.service] = risk.p50
                self._chances[risk.service] = max(
                    self._chances.get(risk.service, 0.0), breach_probability(risk, RISK_HORIZON_SECONDS)
                )
        self._loads = {item.service: item for item in forecast.loads}
        self._uneven = {item.service: item.ratio for item in forecast.imbalance}

    def used(self, service: Service, p95: float | None, failed: float | None) -> float | None:
        """The used share of a service's SLO, the larger of latency and errors; above 1 it is breached.

        None where it has no SLO, or nothing is known of it now.
        """
        if (slo := self._slos.get(service)) is None:
            return None
        pairs = ((p95, slo.seconds), (failed, slo.failed))
        return max((value / limit for value, limit in pairs if value is not None and limit > 0), default=None)

    def of(self, service: Service, p95: float | None, failed: float | None) -> ServiceForecast:
        """SLO, risk, and load. breach: median seconds until a breach, None where none is in sight."""
        slo, load = self._slos.get(service), self._loads.get(service)
        used = self.used(service, p95, failed)
        return {
            "promise": None
            if slo is None
            else {
                "seconds": rounded(slo.seconds),
                "failed": rounded(slo.failed),
                "learned": slo.learned,
            },
            "used": None if used is None else number(used),
            "risk": number(self._chances.get(service, math.nan)),
            "breach": number(self._breaches.get(service, math.nan)),
            "load": None if load is None else number(load.ratio),
            "safe": None if load is None else number(load.safe),
            "uneven": number(self._uneven.get(service, math.nan)),
        }
