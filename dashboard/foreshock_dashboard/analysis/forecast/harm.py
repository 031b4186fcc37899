"""Harm that users feel: how much of its error budget a service has burnt beyond what its SLO allows.

An SLO is breached from a burn rate of 1 on. A p95 just above its target for half a minute, one slow request more in a
hundred, is no reason to wake a person; a service that fails is one within seconds. Summed over time, the burn rate
beyond 1 is the same measure for both (Beyer et al., *The Site Reliability Workbook*, 2018, chapter 5).
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds
from foreshock_dashboard.analysis.baseline.outages import is_outage_observed
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.forecast.service_risk import MIN_FAILED_REQUESTS, ServiceRisk
from foreshock_dashboard.model.capacity.slow_burn import LATE_RATIO
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red
from foreshock_dashboard.stats.late_share import late_share

HARM_SECONDS = 300.0
"""Seconds back in which harm counts."""
PAGE_HARM_SECONDS = 60.0
"""Seconds of burn rate beyond 1 from which an SLO breach is worth a page: a minute at twice the error budget, or six
seconds at eleven times."""


def is_harmed(point: EvaluationPoint, service: Service, risk: ServiceRisk) -> bool:
    """Whether users of a service that breaches its SLO have felt it: by the operation that breaches, if it is one."""
    if not risk.breached:
        return False
    if is_outage_observed(point, service):
        return True
    if risk.operation is not None:
        operation, slo = risk.operation
        row = point["operation_p95"].keys[operation]
        return harm_seconds(point, point.world.operation_red, row, slo) >= PAGE_HARM_SECONDS
    if risk.slo is None:
        return True
    return harm_seconds(point, point.world.red, point["p95"].keys[service], risk.slo) >= PAGE_HARM_SECONDS


def harm_seconds(point: EvaluationPoint, red: Red, row: int, slo: Slo) -> float:
    """Burn rate beyond 1 of a row over the last `HARM_SECONDS`, in seconds; what is not known is not counted."""
    window = point.window(HARM_SECONDS)
    rate, failed, p50, p95, p99 = (
        values[row, window].astype(np.float64) for values in (red.rate, red.error_rate, red.p50, red.p95, red.p99)
    )
    requests = rate * count_seconds(point)
    with np.errstate(invalid="ignore", divide="ignore"):
        late: Floats = np.where(requests >= MIN_REQUESTS, late_share(slo.seconds, p50, p95, p99) / LATE_RATIO, 0.0)
        failing = np.where(failed * requests >= MIN_FAILED_REQUESTS, failed / slo.error_rate, 0.0)
    beyond = np.fmax(np.fmax(late, failing) - 1.0, 0.0)
    return float(np.nansum(beyond) * point.world.step)
