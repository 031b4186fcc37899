"""The services at risk of breaching their SLOs in an incident, and when."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.forecast.breach import NEVER, forecast, trend_window
from foreshock_dashboard.analysis.forecast.propagation import DELAY_RATIOS, MEDIAN_INDEX, PropagatedRisk
from foreshock_dashboard.analysis.forecast.service_risk import ServiceRisk
from foreshock_dashboard.analysis.incidents.caller_impact import AFFECTED_Z, lacks_baseline
from foreshock_dashboard.analysis.incidents.evaluation import Evaluation
from foreshock_dashboard.analysis.incidents.evidence import SYMPTOM_SIGNALS
from foreshock_dashboard.analysis.incidents.triage import IncidentCandidate
from foreshock_dashboard.analysis.saturation.safe_limits import exceeds_safe_limit
from foreshock_dashboard.model.incident import AtRisk
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.stats.level_crossing import QUANTILES

PAGED_TREND_RATIOS = (0.07, 0.1, 0.28, 0.6, 1.2)
"""Time until the origin of a page breaches its SLO, by `level_crossing.QUANTILES`, over the median of its trend: after
a page the breach is nearer than a trend of minutes shows. This and the next two were fitted to pages on the development
seeds of the evaluation (`make evaluate`)."""
SOON_SECONDS = (10.0, 20.0, 70.0, 300.0, 700.0)
"""The same in seconds from the page on without a trend, and for model servers that fill up before p95 shows it."""
IMMINENT_SECONDS = (5.0, 10.0, 20.0, 60.0, 200.0)
"""The same for a cause that takes a service down by itself, and for overloaded model servers."""


def services_at_risk(candidate: IncidentCandidate, evaluation: Evaluation, paged_seconds: float) -> tuple[AtRisk, ...]:
    """The origin and its callers, direct or not, in the order in which they breach their SLOs.

    paged_seconds: since the page, 0 before.
    """
    origin = evaluation.service_risks.get(candidate.origin)
    if origin is None or origin.breached:
        return near_at_risk(candidate.origin, evaluation, {})
    seconds = _seconds(candidate, origin)
    if seconds in (SOON_SECONDS, IMMINENT_SECONDS):  # known of pages in general, while a trend is of now
        seconds = remaining_seconds(seconds, paged_seconds)
    if math.isinf(seconds[MEDIAN_INDEX]):
        seconds = origin.seconds
    updated = replace(origin, score=max(origin.score, candidate.score), seconds=seconds)
    return near_at_risk(candidate.origin, evaluation, {candidate.origin: updated})


def near_at_risk(origin: Service, evaluation: Evaluation, updated: Mapping[Service, ServiceRisk]) -> tuple[AtRisk, ...]:
    """A service and its callers, direct or not, the soonest breach first. updated: risks that replace their own.

    Services without a latency baseline are left out: a breach could not be observed.
    """
    point = evaluation.point
    near = {origin, *point.upstream[origin]} & point.memo(_services_with_baseline)
    propagated = evaluation.propagation.risks(updated) if updated else evaluation.propagated
    risks = [risk for risk in propagated if risk.service in near]
    at_risk = []
    for risk, seconds in zip(risks, _observed_seconds(risks, evaluation), strict=True):
        p10, p20, p50, p80, p90 = seconds
        at_risk.append(AtRisk(risk.service, p20, p50, p80, p10, p90))
    return tuple(sorted(at_risk, key=lambda risk: (risk.p50, risk.service)))


def _services_with_baseline(point: EvaluationPoint) -> frozenset[Service]:
    return frozenset(service for service in point.world.services if not lacks_baseline(point, service))


def _services_with_symptom(point: EvaluationPoint) -> frozenset[Service]:
    return frozenset(
        service
        for service in point.world.services
        if any(point.z(name, service) >= AFFECTED_Z for name in SYMPTOM_SIGNALS)
    )


def _observed_seconds(risks: Sequence[PropagatedRisk], evaluation: Evaluation) -> list[tuple[float, ...]]:
    """Seconds until each breach, by `level_crossing.QUANTILES`, given where a propagated risk is observed.

    A service without a symptom is as far from its breach as its own trend shows, else as the trend of a callee that
    breaches its SLO already, if there is one, and breaches no sooner than the services with a symptom.
    """
    own, anomalous = evaluation.service_risks, evaluation.point.memo(_services_with_symptom)
    observed = [risk.through is None or risk.service in anomalous for risk in risks]
    expected = [risk.seconds for risk, seen in zip(risks, observed, strict=True) if seen]
    floor = [max(column) for column in zip(*(row for row in expected if row[MEDIAN_INDEX] < math.inf), strict=True)]
    trends = [own[risk.service].seconds if risk.service in own else risk.seconds for risk in risks]
    without = [number for number, seen in enumerate(observed) if not seen and math.isinf(trends[number][MEDIAN_INDEX])]
    endured = _endured_seconds([risks[number] for number in without], evaluation)
    for number, seconds in zip(without, endured, strict=True):
        trends[number] = seconds
    found = []
    for risk, seen, trend in zip(risks, observed, trends, strict=True):
        seconds = risk.seconds
        if not seen:
            seconds = trend if trend[MEDIAN_INDEX] < math.inf else seconds
            seconds = tuple(map(max, seconds, floor)) if floor else seconds
        found.append(seconds)
    return found


def _endured_seconds(risks: Sequence[PropagatedRisk], evaluation: Evaluation) -> list[tuple[float, ...]]:
    """Seconds until a callee that breaches its SLO takes all the time that the SLO of its caller leaves, by its trend.

    Infinite without such a callee, and where it does not become slower. As uncertain as other delays between services.
    All trends are fitted at once: an incident of a large platform has hundreds of callers.
    """
    point, found = evaluation.point, [NEVER.seconds] * len(risks)
    limits = {
        number: limit for number, risk in enumerate(risks) if (limit := _endured_latency(risk, evaluation)) is not None
    }
    rows = [point["p95"].keys[callee] for callee, _ in limits.values()]
    logs = np.log(np.maximum(point.world.red.p95[rows][:, trend_window(point)].astype(np.float64), 1e-9))
    crossings = forecast(logs, np.array([math.log(seconds) for _, seconds in limits.values()]), point.world.step)
    for number, crossing in zip(limits, crossings, strict=True):
        found[number] = tuple((crossing.seconds[MEDIAN_INDEX] * DELAY_RATIOS).tolist())
    return found


def _endured_latency(risk: PropagatedRisk, evaluation: Evaluation) -> tuple[Service, float] | None:
    """A callee that breaches its SLO, and its p95 in seconds that takes all that the SLO of the caller leaves."""
    point, callee, caller = evaluation.point, risk.through, evaluation.service_risks.get(risk.service)
    origin = evaluation.service_risks.get(callee) if callee is not None else None
    if callee is None or origin is None or not origin.breached or caller is None or caller.slo is None:
        return None
    requests = point.value("rate", risk.service)
    if not requests > 0:
        return None
    calls = [point.value("edge_rate", edge) for edge in point.calls_to(callee) if edge.client == risk.service]
    per_request = max(1.0, sum(calls) / requests)
    limit = point.value("p95", callee) + (caller.slo.seconds - point.value("p95", risk.service)) / per_request
    return (callee, limit) if limit > 0 else None


def _seconds(candidate: IncidentCandidate, own: ServiceRisk) -> tuple[float, ...]:
    """Seconds until the origin breaches its SLO, by `level_crossing.QUANTILES`. The load of model servers leads p95."""
    is_over_limit = own.overloaded and own.utilization is not None and exceeds_safe_limit(own.utilization)
    if candidate.causes_outage or is_over_limit:
        return IMMINENT_SECONDS
    if own.overloaded or math.isinf(own.seconds[2]):
        return SOON_SECONDS
    return tuple(share * own.seconds[2] for share in PAGED_TREND_RATIOS) if candidate.page else own.seconds


def remaining_seconds(seconds: tuple[float, ...], elapsed: float) -> tuple[float, ...]:
    """What is left of some seconds, by `level_crossing.QUANTILES`, after `elapsed` of them have passed.

    The quantiles of T - elapsed given T > elapsed, with T interpolated between its quantiles; infinite beyond the last
    one. No forecast, all infinite, where not even the median is left within them.
    """
    shares, times = (0.0, *QUANTILES), (0.0, *seconds)
    passed = float(np.interp(elapsed, times, shares))
    left = [passed + share * (1.0 - passed) for share in QUANTILES]
    if left[MEDIAN_INDEX] > QUANTILES[-1]:
        return NEVER.seconds
    return tuple(
        float(np.interp(share, shares, times)) - elapsed if share <= QUANTILES[-1] else math.inf for share in left
    )
