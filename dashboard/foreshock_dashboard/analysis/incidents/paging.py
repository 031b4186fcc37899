"""When trouble is an early warning, and when it is worth a page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.counts import MIN_REQUESTS, request_count
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.finding import EXTREME_Z, TENFOLD_Z, Finding
from foreshock_dashboard.analysis.forecast.harm import is_harmed
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.caller_impact import (
    AFFECTED_Z,
    explains,
    has_known_callers,
    is_noticeable,
)
from foreshock_dashboard.model.incident import Cause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.robust import median

EARLY_WARNING_SCORE = 0.3
"""Score of an SLO breach from which a service belongs to an incident candidate."""
PAGE_SCORE = 0.6
"""Score of an SLO breach from which a candidate with a firm finding pages."""
FINDING_STRENGTH = 0.5
"""Strength from which a finding is firm."""
CONTENTION_SEVERITY = 1.25
"""Severity from which a cause pages before the SLO breach: a quarter more time than at baseline."""
OUTAGE_SEVERITY = 2.0
"""Severity of a cause that takes a service down by itself."""
WORSENING_SECONDS, WORSENING_RATIO = 120.0, 1.5
"""Time in which p95 of a service that is slow already grows by this ratio, if it becomes slower and slower."""
PAGING_CAUSES: frozenset[Cause] = frozenset({"gpu_contention", "hardware", "network", "kv_cache_pressure"})
"""Causes that page although no caller is affected, and before users are harmed; all others wait for that."""


def causes_outage(
    point: EvaluationPoint, origin: Service, affected_callers: Sequence[Service], cause: Finding | None
) -> bool:
    """Whether a cause takes a service down by itself. Of a dependency, its callers have to show it."""
    if cause is None or not (cause.urgent and cause.severity >= OUTAGE_SEVERITY and cause.strength >= FINDING_STRENGTH):
        return False
    if cause.cause != "dependency":
        return True
    is_observed = cause.down or is_noticeable(point, origin)
    return is_observed and (bool(affected_callers) or (cause.down and not has_known_callers(point, origin)))


def is_worth_a_page(
    point: EvaluationPoint,
    risks: Mapping[Service, ServiceRisk],
    origin: Service,
    affected_callers: Sequence[Service],
    cause: Finding | None,
) -> bool:
    """Whether a candidate without urgency is worth a page: users are harmed, or soon will be by a paging cause."""
    risk = risks.get(origin)
    if risk is None:
        return False
    explained = (
        cause is not None
        and cause.strength >= FINDING_STRENGTH
        and cause.cause in PAGING_CAUSES
        and request_count(point, origin) >= MIN_REQUESTS
    )
    if is_harmed(point, origin, risk):
        worsens = becomes_slower(point, origin) and is_noticeable(point, origin)
        if worsens or affected_callers or not point.upstream[origin]:
            return True
    harmed = (caller for caller in affected_callers if caller in risks and is_harmed(point, caller, risks[caller]))
    if any(explains(point, origin, caller) for caller in harmed):
        return True  # it has no SLO, or several calls of a request add up
    is_severe = cause is not None and cause.severity >= CONTENTION_SEVERITY and point.z("p95", origin) >= AFFECTED_Z
    return explained and (is_severe or risk.score >= PAGE_SCORE)


def becomes_slower(point: EvaluationPoint, service: Service) -> bool:
    """Whether a service is about ten times as slow after it became slower for minutes.

    Callers that were patient so far will not be. After a step they wait, or show at once that they do not.
    """
    level, scale = point.level_and_scale("p95", service)
    logs = point.history("p95", service, WORSENING_SECONDS)
    third = len(logs) // 3
    first, last = median(np.stack([logs[:third], logs[len(logs) - third :]]))
    was_slow, is_tenfold = first - level >= EXTREME_Z * scale, last - level >= TENFOLD_Z * scale
    return bool(was_slow and is_tenfold and last - first >= math.log(WORSENING_RATIO))
