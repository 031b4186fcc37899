"""Dependency: a callee became slow or fails by its own fault, and its callers are affected.

Own fault: it has no more load than at baseline, its own callees are healthy and would show it otherwise, no neighbor
takes its GPUs, and it is slow where it serves, not on the network. A caller with a fallback or a cache is not affected.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import Key
from foreshock_dashboard.analysis.detectors.evidence import (
    EXTREME_Z,
    WORSE_Z,
    degradation,
    evidence_of,
    lost_gpu_time,
    slow_tokens,
    token_slowdown,
)
from foreshock_dashboard.analysis.detectors.fanout import hidden_by_fanout
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.remediation.effect import at_baseline, best, of_signal
from foreshock_dashboard.model.action import Action, Effect
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

MAX_UNFELT_STRENGTH = 0.45
"""Largest strength of a fault that affects no caller."""
LOADED_CALLEE_GROWTH = Threshold(1.4, 0.1)
"""Requests over their baseline from which load explains a slow callee. Above `OVERLOAD_REQUEST_GROWTH`, because
retries count as well."""
LOADED_FAILING_CALLEE_GROWTH = Threshold(3.0, 0.3)
"""The same for a callee that fails without being slow: overload makes a server slow first, or it sheds load."""
PROMPT_GROWTH = Threshold(1.0, 0.1)
"""Growth of prompt tokens over that of the time per token, which explains the latter: prompts are read between decoding
steps."""
EXPLAINED_SHARE = Threshold(0.2, 0.05)
"""Share of a caller's slowdown or failures that an edge explains."""
INHERITED_SHARE = Threshold(0.5, 0.1)
"""Share of a callee's slowdown or failures that one of its own callees explains."""
SERVICE_SIGNALS, EDGE_SIGNALS = ("p95", "failed"), ("edge_p95", "edge_failed")
SIGNAL_PAIRS = tuple(zip(SERVICE_SIGNALS, EDGE_SIGNALS, strict=True))
"""Signals of a service, and those of its calls that they follow."""
MAX_MODEL_SERVER_STRENGTH = 0.55
"""Largest strength for a model server, which has better signals: neighbors, lengths, queue, clocks."""
FAILED_ATTEMPTS = Threshold(0.03, 0.01)
"""Ratio of failed attempts from which a caller is about to be affected."""
TIMEOUT_SLOWDOWN = Threshold(4.0, 0.5)
"""Slowdown of a callee at which failures are timeouts."""
VISIBLE_FAILED_RATIO = 0.02
"""Ratio of failed calls that would show at the caller."""
MAX_FORECAST_STRENGTH = 0.8
"""Largest strength of an effect that has not happened yet."""
MIN_STRENGTH = 0.1
"""Strength below which there is no finding."""
MAX_SEVERITY = 100.0


def dependency(point: EvaluationPoint) -> tuple[Finding, ...]:
    """Findings for slow or failing callees, one for the callee and one for each affected caller."""
    found: list[Finding] = []
    for callee, edges in sorted(_worse(point).items()):
        strength = own_fault(point, callee, edges)
        if strength < MIN_STRENGTH:
            continue
        callers = sorted({edge.client for edge in edges if edge.connection != "virtual_node"})
        felt = {caller: _affects(point, caller, edges) for caller in callers}
        most = max(felt.values(), default=degradation(point, callee) if not callers else 0.0)
        strength = min(strength, max(most, MAX_UNFELT_STRENGTH))
        worst = max(edges, key=lambda edge: (_z(point, edge), edge))
        severity, since = _severity(point, callee, edges), _since(point, callee, edges)
        evidence = (*_figures(point, callee, (*SERVICE_SIGNALS, "per_token")), *_figures(point, worst, EDGE_SIGNALS))
        found += [
            Finding(
                service=service,
                cause="dependency",
                suspect=SuspectedCause(callee, edge=worst[:2] if service != callee else None),
                strength=strength if service == callee else min(strength, felt[service]),
                severity=severity,
                since=since,
                evidence=evidence if service == callee else (*evidence, *_figures(point, service, SERVICE_SIGNALS)),
                action=roll_back(callee, callers)._replace(effect=_effect(point, service, callee, callers)),
                urgent=most > 0.5,
            )
            for service in (callee, *callers)
        ]
    return tuple(found)


def _worse(point: EvaluationPoint) -> dict[Service, list[Edge]]:
    """Callees with an edge on which they are slower or fail more than at baseline, and all edges to them."""
    slow, failing, client = point["edge_server"], point["edge_failed"], point["edge_p95"]
    with np.errstate(invalid="ignore"):
        away = (slow.z > WORSE_Z) | (failing.z > WORSE_Z) | (np.isnan(slow.value) & (client.z > WORSE_Z))
    worse = {point.world.edges[row].server for row in np.flatnonzero(away)}
    worse |= {
        service
        for service in point.utilizations
        if service in point.into and slow_tokens(point, service) > MIN_STRENGTH
    }
    return {server: [point.world.edges[row] for row in point.into[server]] for server in worse}


def own_fault(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee is worse by its own fault; exact from `MIN_STRENGTH` on."""
    slow, failing = (confidence(max(z, default=0.0), EXTREME_Z, 0.7) for z in _own(point, callee, edges))
    token = min(slow_tokens(point, callee), 1 - _prompts(point, callee))
    if token < MIN_STRENGTH and _load_explains(point, callee):
        return 0.0
    if slow >= max(MIN_STRENGTH, failing):
        slow = min(slow, 1 - hidden_by_fanout(point, callee))
    most = max(MAX_MODEL_SERVER_STRENGTH, token) if callee in point.models else 1.0
    left = min(most, max(slow, failing, token))
    for reason in OTHER_CAUSES:
        if left < MIN_STRENGTH:
            break
        left = min(left, 1 - reason(point, callee, edges))
    return left


def _overloaded(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that more load makes a callee worse: load makes it slow before it fails."""
    slow, _ = _own(point, callee, edges)
    fails_alone = max(slow, default=0.0) < WORSE_Z and not point.z("waiting", callee) >= WORSE_Z
    most = LOADED_FAILING_CALLEE_GROWTH if fails_alone else LOADED_CALLEE_GROWTH
    return most.confidence(point.ratio("rate", callee)) * (1 - slow_tokens(point, callee))


def _prompts(point: EvaluationPoint, callee: Service) -> float:
    """Confidence (0 to 1) that a model server is slower per token due to the prompts that it reads in between."""
    slow = token_slowdown(point, callee)
    return PROMPT_GROWTH.confidence(point.ratio("prompt", callee) / slow) if slow > 0 else 0.0


def _passes_on(point: EvaluationPoint, callee: Service, _: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee only passes on what its own callees cause."""
    calls = {edge: _z(point, edge) for edge in _calls(point, callee)}
    found = confidence(max(calls.values(), default=math.nan), WORSE_Z, 0.5)
    if 1 - found < MIN_STRENGTH:
        return found
    return max([found, *(_inherited(point, callee, edge) for edge, z in calls.items() if z > 1)])


def _inherited(point: EvaluationPoint, callee: Service, edge: Edge) -> float:
    """Confidence (0 to 1) that one edge of a callee explains its slowdown or failures."""
    slow, failing = (explained_share(point, callee, edge, own, called) for own, called in SIGNAL_PAIRS)
    return INHERITED_SHARE.confidence(max(slow, failing))


def _apart(point: EvaluationPoint, _: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that it is slow on the way to its clients."""
    found = (point.z("excess", edge) for edge in edges)
    return confidence(max(found, key=lambda z: 0.0 if math.isnan(z) else z, default=math.nan), EXTREME_Z, 1.0)


def _waits(point: EvaluationPoint, callee: Service, _: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that it waits for others on its GPUs."""
    return confidence(max((z for z in _stalls(point, callee) if not math.isnan(z)), default=math.nan), EXTREME_Z, 1.0)


OTHER_CAUSES: Sequence[Callable[[EvaluationPoint, Service, Sequence[Edge]], float]] = (
    _overloaded,
    lambda point, callee, _: confidence(point.z("held", callee), EXTREME_Z, 1.0),
    _passes_on,
    _apart,
    _waits,
    lambda point, callee, _: lost_gpu_time(point, callee),
)
"""Confidence (0 to 1) in each other cause that makes a callee worse, the cheapest to compute first."""


def _own(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> tuple[list[float], list[float]]:
    """Scales by which the callee is slower, and fails more, where it serves."""
    slow, failing = [point.z("p95", callee)], [point.z("failed", callee)]
    for edge in edges:
        server = point.z("edge_server", edge)
        slow.append(point.z("edge_p95", edge) if math.isnan(server) else server)
        if math.isnan(point.value("failed", callee)):
            failing.append(point.z("edge_failed", edge))
    return [z for z in slow if not math.isnan(z)], [z for z in failing if not math.isnan(z)]


def _load_explains(point: EvaluationPoint, callee: Service) -> bool:
    """Whether concurrency explains the time per token of a model server: it grew at least as much."""
    token, running = point.ratio("per_token", callee), point.ratio("running", callee)
    return bool(math.isfinite(token) and math.isfinite(running) and running > 1.2 and token < running)


def _calls(point: EvaluationPoint, client: Service) -> list[Edge]:
    return [point.world.edges[row] for row in point.out.get(client, ())]


def _stalls(point: EvaluationPoint, callee: Service) -> list[float]:
    stalled = point["stalled_by"]
    return [float(stalled.z[row]) for row in point.stalls.get(callee, ())]


def _z(point: EvaluationPoint, edge: Edge) -> float:
    """Scales by which an edge is worse for its client."""
    scores = [point.z(name, edge) for name in ("edge_p95", "edge_failed", "edge_server")]
    return max((z for z in scores if not math.isnan(z)), default=0.0)


def _affects(point: EvaluationPoint, caller: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee affects a caller: its calls are worse, and explain much of its trouble."""
    if math.isnan(point.level("rate", caller)):
        return 0.0  # a service without requests has no latency
    calls = [edge for edge in edges if edge.client == caller]
    current = max((_slows(point, caller, edge) for edge in calls), default=0.0)
    return max(current, max((_about_to_affect(point, caller, edge) for edge in calls), default=0.0))


def _slows(point: EvaluationPoint, caller: Service, edge: Edge) -> float:
    """Confidence (0 to 1) that an edge makes a caller slower or fail more."""
    return max(
        min(
            confidence(point.z(own, caller), WORSE_Z, 0.5),
            confidence(point.z(called, edge), WORSE_Z, 0.5),
            EXPLAINED_SHARE.confidence(explained_share(point, caller, edge, own, called)),
        )
        for own, called in SIGNAL_PAIRS
    )


def explained_share(point: EvaluationPoint, caller: Service, edge: Edge, own: str, called: str) -> float:
    """The rise of an edge's signal over that of its caller, at least 0."""
    whole, some = _rise(point, own, caller), _rise(point, called, edge)
    return some / whole if whole > 0 and some > 0 else 0.0


def _rise(point: EvaluationPoint, name: str, key: Key) -> float:
    value = point.denoised(name, key) - point.level(name, key)
    return value if math.isfinite(value) else 0.0


def _about_to_affect(point: EvaluationPoint, caller: Service, edge: Edge) -> float:
    """Confidence (0 to 1) that a caller is about to be affected: the callee is so slow that attempts time out.

    Retries hide that until too many calls fail twice: with p of the attempts, p² of the calls. A caller that does not
    show these failures has a fallback; one that calls for few of its requests shows them for those.
    """
    failed, shown = _rise(point, "edge_failed", edge), _rise(point, "failed", caller)
    often = point.level("edge_rate", edge) / point.level("rate", caller)
    twice = failed**2 * (min(1.0, often) if math.isfinite(often) else 1.0)
    if twice > VISIBLE_FAILED_RATIO and shown < twice / 4:
        return 0.0
    return min(
        MAX_FORECAST_STRENGTH,
        FAILED_ATTEMPTS.confidence(failed),
        TIMEOUT_SLOWDOWN.confidence(point.ratio("edge_p95", edge)),
    )


def _effect(point: EvaluationPoint, service: Service, callee: Service, callers: Sequence[Service]) -> Effect | None:
    """The effect of a healthy callee on an affected caller; on the callee itself while no caller is worse."""
    affected = callers if service == callee else (service,)
    return caller_effect(point, affected, callee) or at_baseline(point, callee, "callee_as_usual")


def caller_effect(point: EvaluationPoint, callers: Sequence[Service], callee: Service) -> Effect | None:
    """The largest effect on callers if calls to a callee were as fast, and failed as seldom, as at baseline.

    A caller that waits for several calls, or for their threads, gains more than this.
    """
    edges = [edge for caller in callers for edge in _calls(point, caller) if edge.server == callee]
    return best(
        of_signal(
            point, own, edge.client, point.value(own, edge.client) - _rise(point, called, edge), "callee_as_usual"
        )
        for edge in edges
        for own, called in SIGNAL_PAIRS
    )


def _severity(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    ratios = [
        point.ratio("p95", callee),
        point.ratio("per_token", callee),
        *(point.ratio("edge_p95", edge) for edge in edges),
    ]
    return min(MAX_SEVERITY, max((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0))


def _since(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    times = [point.since(name, callee) for name in (*SERVICE_SIGNALS, "per_token")]
    return min([*times, *(point.since(name, edge) for name in ("edge_server", "edge_failed") for edge in edges)])


def _figures(point: EvaluationPoint, key: Key, names: Sequence[str]) -> tuple[Evidence, ...]:
    evidence = (evidence_of(point, name, key) for name in names)
    return tuple(item for item in evidence if math.isfinite(item.value) and not item.value == item.baseline == 0)


def roll_back(callee: Service, callers: Sequence[Service]) -> Action:
    """What to do about a callee that is worse by itself: roll it back, or let its callers do without it."""
    instead = Action("degrade", callee, callers=tuple(callers)) if callers else Action("restart", callee)
    return Action("roll_back", callee, alternatives=(instead,))
