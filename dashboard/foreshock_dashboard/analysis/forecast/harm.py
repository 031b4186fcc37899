"""Harm that users feel: how much of its error budget a service has burnt beyond what its SLO allows.

An SLO is breached from a burn rate of 1 on. A p95 just above its target for half a minute, one slow request more in a
hundred, is no reason to wake a person; a service that fails is one within seconds. Summed over time, the burn rate
beyond 1 is the same measure for both (Beyer et al., *The Site Reliability Workbook*, 2018, chapter 5).
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, count_seconds_at
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
seconds at eleven times. A steady burn rate below 1.2 does not reach them within `HARM_SECONDS`."""
MIN_KNOWN_RATIO = 0.5
"""Ratio of grid points within `HARM_SECONDS` whose burn rate is known, from which their mean counts."""


def is_harmed(point: EvaluationPoint, service: Service, risk: ServiceRisk) -> bool:
    """Whether users of a service that breaches its SLO have felt it, in all requests or in a breaching operation."""
    if not risk.breached:
        return False
    if is_outage_observed(point, service) or (risk.slo is None and not risk.breaching):
        return True
    world, (rows, operation_rows) = point.world, (point["p95"].keys, point["operation_p95"].keys)
    targets = [(world.operation_red, operation_rows[operation], slo) for operation, slo in risk.breaching]
    if risk.slo is not None:
        targets.append((world.red, rows[service], risk.slo))
    return any(_is_harm(burn_rates(point, red, row, slo), slo, world.step) for red, row, slo in targets)


def _is_harm(burn: Floats, slo: Slo, step: float) -> bool:
    """Whether burn rates within `HARM_SECONDS` are harm; one above 1 in their mean is, if a person has set the SLO."""
    known = burn[~np.isnan(burn)]  # infinite where the SLO allows no failure
    if np.maximum(known - 1.0, 0.0).sum() * step >= PAGE_HARM_SECONDS:
        return True
    return not slo.learned and len(known) >= MIN_KNOWN_RATIO * len(burn) > 0 and bool(known.mean() > 1.0)


def burn_rates(point: EvaluationPoint, red: Red, row: int, slo: Slo) -> Floats:
    """Burn rate of a row at each grid point of the last `HARM_SECONDS`: NaN where requests are unknown or too few."""
    window = point.window(HARM_SECONDS)
    rate, failed, p50, p95, p99 = (
        values[row, window].astype(np.float64) for values in (red.rate, red.error_rate, red.p50, red.p95, red.p99)
    )
    requests = rate * point.memo(_count_seconds)
    with np.errstate(invalid="ignore", divide="ignore"):
        late = np.where(requests >= MIN_REQUESTS, late_share(slo.seconds, p50, p95, p99) / LATE_RATIO, np.nan)
        failing = np.where(failed * requests >= MIN_FAILED_REQUESTS, failed / slo.error_rate, np.nan)
    return np.asarray(np.fmax(late, failing))


def _count_seconds(point: EvaluationPoint) -> Floats:
    return count_seconds_at(point, point.window(HARM_SECONDS))
