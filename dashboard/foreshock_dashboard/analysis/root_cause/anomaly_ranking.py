"""Ranking of suspected causes from anomaly scores of arbitrary metrics and the call graph alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from foreshock_dashboard.analysis.root_cause.metric_anomalies import ANOMALOUS_SCORE, MetricAnomaly
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service

AFFECTED_SCORE = 2.0
"""Score from which a service counts as affected if another one has `STRONG_SCORE`; else `ANOMALOUS_SCORE` is needed."""
STRONG_SCORE = 5.0
ONSET_DECAY_SECONDS = 120.0
"""Time constant of the weight of an anomaly that begins after the affected service's: causes precede effects."""
UNREACHABLE_WEIGHT = 0.25
"""Weight of anomalous services regardless of calls: they may share something that no metric shows."""
MAX_STEPS = 20
"""Steps of the walk along calls; bounds cycles."""
TOP_METRICS = 3
"""Metrics of a service that count, and that are reported."""
PROPAGATING_WEIGHT = 0.7
"""Weight of latency, errors, and requests, which propagate along calls, against CPU, memory, and disk."""
_PROPAGATING_METRIC = re.compile(
    r"latenc|duration|response|elapsed|error|fail|timeout|abort|5xx|request|calls|load|qps|rps|throughput"
)
_LOAD_METRIC = re.compile(
    r"(requests?|calls|queries|messages|tokens|events|received|sent)(_total|_count|s)?$|_(count|load|qps|rps|throughput)$|^load$"
)


class ServiceAnomalies(NamedTuple):
    """Metrics of a service by score, the highest first; `score` is that of the first."""

    service: Service
    score: float
    metrics: tuple[MetricAnomaly, ...]

    @property
    def since(self) -> float:
        """Onset of the first anomalous metric, in Unix seconds."""
        return min(metric.since for metric in self.metrics if metric.score >= ANOMALOUS_SCORE)

    @property
    def strength(self) -> float:
        """Mean of the highest score and of the mean of the `TOP_METRICS` highest: a cause shows in several metrics.

        In logarithms, because scores of different metrics compare only roughly.
        """
        worth = sorted((_log_score(metric) for metric in self.metrics), reverse=True)[:TOP_METRICS]
        return (worth[0] + sum(worth) / len(worth)) / 2

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """Its most anomalous metrics."""
        names = dict.fromkeys(metric.metric for metric in self.metrics if metric.score >= ANOMALOUS_SCORE)
        by_name = {metric.metric: metric for metric in reversed(self.metrics)}
        return tuple(
            Reason("metric", self.service, name, by_name[name].now, by_name[name].baseline, by_name[name].since)
            for name in list(names)[:TOP_METRICS]
        )


class GenericAnomalies(NamedTuple):
    """Anomalies of each service, the callees of each service as far as known, and the grid's step in seconds."""

    by_service: Mapping[Service, ServiceAnomalies]
    calls: Mapping[Service, tuple[Service, ...]]
    step: float


def group_by_service(
    anomalies: Iterable[MetricAnomaly], known: Iterable[Service] = ()
) -> Mapping[Service, ServiceAnomalies]:
    """Anomalies of each service.

    A service without a namespace is the one of its name with a namespace, also among `known`, if there is only one.
    """
    metrics: dict[Service, list[MetricAnomaly]] = {}
    for anomaly in anomalies:
        metrics.setdefault(anomaly.service, []).append(anomaly)
    qualified: dict[str, set[Service]] = {}
    for service in {*metrics, *known}:
        if service.namespace:
            qualified.setdefault(service.name, set()).add(service)
    for service in [service for service in metrics if not service.namespace]:
        if len(same := qualified.get(service.name, ())) == 1:
            metrics.setdefault(next(iter(same)), []).extend(metrics.pop(service))
    for own in metrics.values():
        own.sort(key=lambda metric: (-metric.score, metric.metric))
    return {service: ServiceAnomalies(service, own[0].score, tuple(own)) for service, own in metrics.items()}


def rank_by_anomaly(affected: Service, anomalies: GenericAnomalies) -> tuple[Candidate, ...]:
    """Suspected causes, the most likely first; scores sum to 1. Empty where the affected service is healthy.

    Where callees are known, suspicion flows along calls and stops where nothing further down is anomalous.
    """
    own = anomalies.by_service.get(affected)
    anomalous = {service: item for service, item in anomalies.by_service.items() if item.score >= ANOMALOUS_SCORE}
    if own is None or not anomalous:
        return ()
    score = max((metric.score for metric in own.metrics if not _is_load_growth(metric)), default=0.0)
    strongest = max(item.score for item in anomalous.values())
    if score < ANOMALOUS_SCORE and (score < AFFECTED_SCORE or strongest < STRONG_SCORE):
        return ()
    onset = own.since if own.score >= ANOMALOUS_SCORE else math.inf
    weight = {
        service: item.strength * _onset_weight(item.since - onset, anomalies.step)
        for service, item in anomalous.items()
    }
    total = sum(weight.values())
    if anomalies.calls.get(affected):
        mass = _walk(affected, weight, anomalies.calls)
        weight = {
            service: mass.get(service, 0.0) + UNREACHABLE_WEIGHT * value / total for service, value in weight.items()
        }
        total = sum(weight.values())
    candidates = [
        Candidate(service, value / total, anomalous[service].reasons) for service, value in weight.items() if value > 0
    ]
    return sorted_candidates(candidates)


def _is_load_growth(metric: MetricAnomaly) -> bool:
    """Load growth does not make a service affected by itself, though it may affect others."""
    return metric.now > metric.baseline and _LOAD_METRIC.search(metric.metric.lower()) is not None


def _log_score(metric: MetricAnomaly) -> float:
    return math.log1p(metric.score) * (PROPAGATING_WEIGHT if _PROPAGATING_METRIC.search(metric.metric.lower()) else 1.0)


def _onset_weight(delay: float, step: float) -> float:
    """Weight 0 to 1 of an anomaly that begins `delay` seconds after the affected service's."""
    return math.exp(-max(0.0, delay - 2 * step) / max(ONSET_DECAY_SECONDS, 2 * step))


def _walk(
    affected: Service, weight: Mapping[Service, float], calls: Mapping[Service, tuple[Service, ...]]
) -> Mapping[Service, float]:
    """Mass absorbed by each service of a walk along calls from the affected one.

    A service passes mass on to anomalous callees by their weight over its own, at most all of it, and keeps the rest.
    """
    absorbed = defaultdict[Service, float](float)
    moving: Mapping[Service, float] = {affected: 1.0}
    for _ in range(MAX_STEPS):
        onward = defaultdict[Service, float](float)
        for service, mass in moving.items():
            own = weight.get(service, 0.0)
            shares = {
                callee: min(1.0, weight[callee] / own) if own else 1.0
                for callee in calls.get(service, ())
                if callee in weight and callee != service
            }
            passed = max(shares.values(), default=0.0)
            absorbed[service] += mass * (1 - passed)
            for callee, share in shares.items():
                onward[callee] += mass * passed * share / sum(shares.values())
        moving = onward
    for service, mass in moving.items():
        absorbed[service] += mass
    return absorbed


def sorted_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Candidates by score, the most likely first."""
    return tuple(sorted(candidates, key=lambda candidate: (-candidate.score, candidate.service)))
