"""Retry loops that could keep a service down, as far as they show while nothing fails.

Metrics do not report how often a client would retry. They show a few natural retries, and the largest number of
attempts per call so far, a lower bound. A client that retries at all is assumed to make three attempts, as most do by
default (AWS SDKs, standard mode); that is inferred, not observed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import BASELINE_HISTORY_SECONDS
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import amplification, edge_ends
from foreshock_dashboard.analysis.detectors.finding import MIN_STRENGTH, Finding, entity
from foreshock_dashboard.analysis.remediation.actions import BUDGET_RATIO
from foreshock_dashboard.model.action import Action, Effect, Reason
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.stats.metastability import (
    MAX_ATTEMPTS,
    RetryLoop,
    can_stay_down,
    max_outage_seconds,
    outage_margin_seconds,
    stays_down,
)
from foreshock_dashboard.stats.threshold import Threshold

DEFAULT_ATTEMPTS = 3.0
"""Attempts per call of a client that is known to retry."""
RETRYING_ATTEMPTS = 1.002
"""Attempts per call from which a client is known to retry: one retry in five hundred calls, in some minute."""
INFERRED_CONFIDENCE, OBSERVED_CONFIDENCE = 0.75, 1.0
"""Confidence in a loop with inferred attempts, and in one with observed attempts."""
TIMEOUT_FAILED_RATIO = 0.01
"""Ratio of failed calls from which p99 is the latency of a failed call, and so the timeout."""
SHORT_OUTAGE_SECONDS = Threshold(60.0, 12.0)
"""Seconds without capacity below which a service that stays down is at risk: failovers and restarts take as long."""
MAX_OUTAGE_SECONDS = SHORT_OUTAGE_SECONDS.midpoint + SHORT_OUTAGE_SECONDS.width * math.log(1 / MIN_STRENGTH - 1)
"""Seconds without capacity: a service that recovers from as long is not at risk, however sure its loop is."""


class ObservedLoop(NamedTuple):
    """A retry loop of a service.

    edge: row of the edge with most retries. edge_attempts: largest attempts per call on it. confidence: 0 to 1, in
    these attempts.
    """

    loop: RetryLoop
    edge: int
    edge_attempts: float
    confidence: float


def retry_risks(point: EvaluationPoint, loads: Mapping[Service, float]) -> Iterator[Finding]:
    """Findings for healthy services that retries would keep overloaded after a brief loss of capacity.

    loads: offered load over capacity, by service.
    """
    for service, observed in sorted(retry_loops(point, loads).items()):
        if not (can_stay_down(observed.loop) and stays_down(observed.loop, MAX_OUTAGE_SECONDS)):
            continue
        seconds = outage_margin_seconds(observed.loop)
        strength = observed.confidence * (1 - SHORT_OUTAGE_SECONDS.confidence(seconds))
        if strength < MIN_STRENGTH:
            continue
        edge, since, survivable = point.world.edges[observed.edge], point.time, SHORT_OUTAGE_SECONDS.midpoint
        load, attempts = observed.loop.load, observed.loop.attempts
        limited = _with_budget(observed)
        cancelling = observed.loop._replace(cancels=True)
        yield Finding(
            service=service,
            cause="retry_storm",
            suspect=SuspectedCause(service, edge=edge[:2]),
            strength=strength,
            severity=1.0,
            since=since,
            evidence=(
                Evidence("longest survivable outage", seconds, survivable, "s", since, str(service)),
                Evidence("load with all retries", load * attempts, 1.0, "ratio", since, str(service)),
                Evidence("attempts per call if all fail (inferred)", attempts, 1 / load, "", since, entity(edge)),
            ),
            actions=(
                Action(
                    "set_retry_budget",
                    edge.client,
                    callee=service,
                    amount=BUDGET_RATIO,
                    reason=Reason("short_outage", service, value=seconds if round(seconds) else math.nan),
                    effect=_effect(service, limited, seconds),
                ),
                Action(
                    "cancel_abandoned",
                    service,
                    effect=_effect(service, cancelling, seconds),
                    outcome=_effect(service, limited._replace(cancels=True), seconds),
                ),
            ),
        )


def _with_budget(observed: ObservedLoop) -> RetryLoop:
    """The loop with a retry budget at the edge with most retries."""
    attempts = observed.loop.attempts / observed.edge_attempts * (1 + BUDGET_RATIO)
    return observed.loop._replace(attempts=max(1.0, attempts))


def _effect(service: Service, loop: RetryLoop, seconds: float) -> Effect | None:
    """The effect of a changed loop on the outage that a service survives; None if that is no longer."""
    survived = outage_margin_seconds(loop)
    unbounded = math.isinf(survived)
    if not unbounded and round(survived) <= round(seconds):
        return None
    survived = max_outage_seconds(loop) if unbounded else survived
    needed = SHORT_OUTAGE_SECONDS.midpoint
    return Effect("survivable outage", service, "s", seconds, survived, needed, "needed", at_least=unbounded)


def retry_loops(point: EvaluationPoint, loads: Mapping[Service, float]) -> Mapping[Service, ObservedLoop]:
    """The retry loops of services with a known load and callers that retry."""
    world = point.world
    past = point.window(BASELINE_HISTORY_SECONDS)
    wanted = {service for service, load in loads.items() if load > 0}
    if not wanted or not len(world.edges):
        return {}
    observed_attempts = np.fmax.reduce(world.attempts[:, past], axis=1, initial=1.0)
    edge_attempts = np.where(
        observed_attempts > RETRYING_ATTEMPTS, np.maximum(np.ceil(observed_attempts), DEFAULT_ATTEMPTS), 1.0
    )
    client, server, indices = edge_ends(world.edges)
    rates = np.nan_to_num(point["edge_rate"].level)
    # While the service is down, each caller makes all attempts for each request that reaches it.
    amplification_if_down = amplification(client, server, rates * edge_attempts, edge_attempts, len(indices))
    loops = {}
    for service, rows in point.incoming.items():
        calls = [row for row in rows if edge_attempts[row] > 1]
        if service not in wanted or not calls:
            continue
        worst = max(calls, key=lambda row: (rates[row] * edge_attempts[row], -row))
        timeout = timeout_seconds(world.calls.p99[worst, past], world.calls.error_rate[worst, past])
        baseline = point.level("edge_p95", world.edges[worst])
        if not timeout > 0 or math.isnan(baseline):
            continue
        # Bounded, because attempts multiply without end in a cycle of callers.
        attempts = min(float(amplification_if_down[indices[service]]), MAX_ATTEMPTS)
        loop = RetryLoop(loads[service], attempts, max(timeout - baseline, 0.1 * timeout), timeout)
        has_retried = observed_attempts[worst] > DEFAULT_ATTEMPTS - 1
        confidence = OBSERVED_CONFIDENCE if has_retried else INFERRED_CONFIDENCE
        loops[service] = ObservedLoop(loop, worst, float(edge_attempts[worst]), confidence)
    return loops


def timeout_seconds(p99: Floats, failed: Floats) -> float:
    """The client timeout: the largest p99 at times with more failed calls than `TIMEOUT_FAILED_RATIO`; NaN if none.

    Exact to a histogram bucket. p99 in seconds, failed as a ratio, both of shape (times,).
    """
    timed_out = p99[np.isfinite(p99) & (failed > TIMEOUT_FAILED_RATIO)]
    return float(timed_out.max()) if len(timed_out) else math.nan
