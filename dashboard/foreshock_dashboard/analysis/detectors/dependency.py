"""Dependency: a callee became slow or fails by its own fault, and its callers are affected.

Own fault: it has no more load than at baseline, its own callees are healthy and would show it otherwise, no neighbor
takes its GPUs, and it is slow where it serves, not on the network. A caller with a fallback or a cache is not affected.

Fan-out hides a slow callee: with k calls per request, a ratio f of slow calls makes 1 − (1 − f)ᵏ of the requests slow
(Dean and Barroso, The Tail at Scale, 2013, for parallel calls; sequential calls behave alike). At k = 2, 2.5% of slow
calls raise the p95 of the requests; the p95 of the calls stays at its baseline up to 5%.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.carried_load import beyond_carried
from foreshock_dashboard.analysis.baseline.counts import count_seconds
from foreshock_dashboard.analysis.baseline.operations import Shown, symptoms
from foreshock_dashboard.analysis.baseline.outages import is_down
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import RESOURCE_SIGNALS, Key
from foreshock_dashboard.analysis.baseline.slos import MIN_LEARNED_SLO_SECONDS
from foreshock_dashboard.analysis.detectors.finding import (
    EXTREME_Z,
    MAX_SEVERITY,
    MAX_UNOBSERVED_STRENGTH,
    MIN_STRENGTH,
    TENFOLD_Z,
    WORSE_Z,
    Finding,
    degradation,
    evidence_of,
    known_evidence,
    longer_requests,
    lost_gpu_time,
    slow_tokens,
)
from foreshock_dashboard.analysis.remediation.actions import roll_back
from foreshock_dashboard.analysis.remediation.effect import SIGNAL_PAIRS, at_baseline, caller_effect, rise
from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.threshold import Threshold, confidence

LOADED_CALLEE_GROWTH = Threshold(1.4, 0.1)
"""Requests over their baseline from which load explains a slow callee. Above `OVERLOAD_REQUEST_GROWTH`, because
retries count as well."""
LOADED_FAILING_CALLEE_GROWTH = Threshold(3.0, 0.3)
"""The same for a callee that fails without being slow: overload makes a server slow first, or it sheds load."""
PROMPT_GROWTH = Threshold(1.0, 0.1)
"""Growth of prompt tokens over that of the time per token, which explains the latter."""
EXPLAINED_SHARE = Threshold(0.2, 0.05)
"""Share of a caller's slowdown or failures that an edge explains."""
INHERITED_SHARE = Threshold(0.5, 0.1)
"""Share of a callee's slowdown or failures that one of its callees explains."""
SERVICE_SIGNALS, EDGE_SIGNALS = ("p95", "error_rate"), ("edge_p95", "edge_error_rate")
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
FANOUT = Threshold(1.5, 0.1)
"""Calls per request from which a service fans out."""
MIN_TAIL_REQUESTS = 150.0
"""Calls per minute, or per step if longer, from which p99 is more than one or two slow calls."""
MIN_TAIL_CALLS = 0.8
"""Calls per request from which the slowest hundredth of the calls is about one of the requests, or more."""


def dependency(point: EvaluationPoint) -> Iterator[Finding]:
    """Findings for slow or failing callees, one for the callee and one for each affected caller."""
    for callee, edges in sorted(_worse(point).items()):
        if is_down(point, callee):
            continue
        strength = own_fault(point, callee, edges)
        if strength < MIN_STRENGTH:
            continue
        callers = sorted({edge.client for edge in edges if edge.connection != "virtual_node"})
        observed = {caller: affects(point, caller, edges) for caller in callers}
        largest = max(observed.values(), default=degradation(point, callee) if not callers else 0.0)
        bound = MAX_FORECAST_STRENGTH if harms_callers(point, callee, edges) else MAX_UNOBSERVED_STRENGTH
        strength = min(strength, max(largest, bound))
        worst = max(edges, key=lambda edge: (_z(point, edge), edge))
        severity = _severity(point, callee, edges)
        since = min(
            *(point.since(name, callee) for name in (*SERVICE_SIGNALS, "per_token")),
            *(point.since(name, edge) for edge in edges for name in (_latency_signal(point, edge), "edge_error_rate")),
        )
        evidence = (
            *_symptoms(point, callee),
            *_figures(point, callee, ("per_token",)),
            *(evidence_of(point, name, callee) for name in RESOURCE_SIGNALS if point.z(name, callee) >= WORSE_Z),
            *_figures(point, worst, (*EDGE_SIGNALS, *(("edge_p99",) if shows_in_tail(point, worst) else ()))),
        )
        for service in (callee, *callers):
            is_callee = service == callee
            affected = callers if is_callee else (service,)
            effect = caller_effect(point, affected, callee) or at_baseline(point, callee)
            yield Finding(
                service=service,
                cause="dependency",
                suspect=SuspectedCause(callee, edge=None if is_callee else worst[:2]),
                strength=strength if is_callee else min(strength, observed[service]),
                severity=severity,
                since=since,
                evidence=evidence if is_callee else (*evidence, *_symptoms(point, service)),
                actions=roll_back(callee, callers, effect),
                urgent=largest > 0.5,
            )


def harms_callers(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> bool:
    """Whether a callee is so slow that callers will breach their SLOs, although none shows it yet.

    One that only clients report is if its slow calls alone take longer by as much as the p95 of a caller's requests,
    while that is normal.
    """
    if math.isfinite(point.level("p95", callee)):
        return point.z("p95", callee) >= TENFOLD_Z
    return any(
        rise(point, name, edge) >= max(point.level("p95", edge.client), MIN_LEARNED_SLO_SECONDS)
        for edge in edges
        if point.z("p95", edge.client) < WORSE_Z
        for name in latency_signals(point, edge)
    )


def _worse(point: EvaluationPoint) -> dict[Service, list[Edge]]:
    """Callees with an edge on which they are slower or fail more than at baseline, and all edges to them."""
    slow, failing, client = point["edge_server"], point["edge_error_rate"], point["edge_p95"]
    with np.errstate(invalid="ignore"):
        away = (slow.z > WORSE_Z) | (failing.z > WORSE_Z) | (np.isnan(slow.value) & (client.z > WORSE_Z))
        tail = np.isnan(slow.value) & (point["edge_p99"].z > WORSE_Z) & ~away
    worse = {point.world.edges[row].server for row in np.flatnonzero(away)}
    edges = (point.world.edges[row] for row in np.flatnonzero(tail))
    worse |= {edge.server for edge in edges if shows_in_tail(point, edge)}
    worse |= {
        service
        for service in point.incoming
        if any(len(symptoms(point, name, service)) > 1 for name in SERVICE_SIGNALS)
    }
    worse |= {
        service
        for service in point.utilizations
        if service in point.incoming and slow_tokens(point, service) > MIN_STRENGTH
    }
    return {server: point.calls_to(server) for server in worse}


def own_fault(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee is worse by its own fault; exact from `MIN_STRENGTH` on."""
    slow, failing = (confidence(max(z, default=0.0), EXTREME_Z, 0.7) for z in _own(point, callee, edges))
    utilization = point.utilizations.get(callee)
    token_slowdown = utilization.slowdown if utilization else math.nan
    # Prompts are read between decoding steps.
    prompts = PROMPT_GROWTH.confidence(point.ratio("prompt", callee) / token_slowdown) if token_slowdown > 0 else 0.0
    token = min(slow_tokens(point, callee), 1 - prompts)
    # Concurrency explains the time per token if it grew at least as much.
    running = point.ratio("running", callee)
    if token < MIN_STRENGTH and running > 1.2 and point.ratio("per_token", callee) < running:
        return 0.0
    if slow >= max(MIN_STRENGTH, failing):
        slow = min(slow, 1 - hidden_by_fanout(point, callee))
    bound = max(MAX_MODEL_SERVER_STRENGTH, token) if callee in point.models else 1.0
    strength = min(bound, max(slow, failing, token))
    for other_cause in OTHER_CAUSES:
        if strength < MIN_STRENGTH:
            break
        strength = min(strength, 1 - other_cause(point, callee, edges))
    return strength


def _overloaded(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that more load makes a callee worse: load makes it slow before it fails."""
    slow, _ = _own(point, callee, edges)
    fails_alone = max(slow, default=0.0) < WORSE_Z and not point.z("waiting", callee) >= WORSE_Z
    growth = LOADED_FAILING_CALLEE_GROWTH if fails_alone else LOADED_CALLEE_GROWTH
    more = min(growth.confidence(_request_growth(point, callee, edges)), beyond_carried(point, callee))
    return more * (1 - slow_tokens(point, callee))


def _request_growth(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    """Requests to a callee over their baseline; of one that fails without retries, as many as its callers have."""
    growth = point.ratio("rate", callee)
    if not point.z("error_rate", callee) >= WORSE_Z:
        return growth
    calls = [(point.level("edge_rate", edge), point.ratio("rate", edge.client)) for edge in edges]
    known = [(level, ratio) for level, ratio in calls if math.isfinite(level) and math.isfinite(ratio)]
    whole = sum(level for level, _ in known)
    return min(growth, sum(level * ratio for level, ratio in known) / whole) if whole > 0 else growth


def _passes_on(point: EvaluationPoint, callee: Service, _: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee only passes on what its own callees cause."""
    own = point.memo(slow_clients)
    edges = [point.world.edges[row] for row in point.outgoing.get(callee, ()) if row not in own]
    z = [_z(point, edge) for edge in edges]
    worse = confidence(max(z, default=math.nan), WORSE_Z, 0.5)
    if 1 - worse < MIN_STRENGTH:
        return worse
    shares = [
        explained_share(point, shown, edge, called)
        for edge, edge_z in zip(edges, z, strict=True)
        if edge_z > 1
        for own, called in _signal_pairs(point, edge)
        for shown in symptoms(point, own, callee)
    ]
    return max(worse, INHERITED_SHARE.confidence(max(shares, default=math.nan)))


def slow_clients(point: EvaluationPoint) -> Set[int]:
    """Rows of edges on which a client finds a callee slow by its own fault; memoize with `point.memo`.

    The server answers, and is normal, or only clients measure it, as a database. Other clients find it normal, while
    most calls of this client take longer than at their servers: it waits for itself, without CPU or threads, until it
    reads the answer. Calls that vary too much to show as many seconds do not count.
    """
    edges, server, waits = point.world.edges, point["edge_server"], point.memo(_client_waits)
    with np.errstate(invalid="ignore"):
        is_slow = waits.z >= WORSE_Z
        is_worse = (server.z >= WORSE_Z) | (point["edge_error_rate"].z >= WORSE_Z)
    own = set()
    for row in np.flatnonzero(is_slow & ~is_worse).tolist():
        others = [other for other in point.incoming[edges[row].server] if other != row and np.isfinite(waits.z[other])]
        rest = [other for other in point.outgoing[edges[row].client] if other != row]
        shown = [other for other in rest if is_slow[other] or waits.seconds[row] >= waits.visible_seconds[other]]
        is_normal = np.mean(is_slow[others]) < 0.5 if others else np.isfinite(server.level[row])
        if is_normal and shown and np.mean(is_slow[shown]) > 0.5:
            own.add(row)
    return own


class _ClientWaits(NamedTuple):
    """How much longer calls take for their client than at the server, by row of edge; NaN if unknown.

    Of a server that reports nothing, as a database, all that the client measures, also in the slowest calls.

    z: in scales. seconds: above the baseline. visible_seconds: those that would be `WORSE_Z` scales.
    """

    z: Floats
    seconds: Floats
    visible_seconds: Floats


def _client_waits(point: EvaluationPoint) -> _ClientWaits:
    p95, p99, excess = point["edge_p95"], point["edge_p99"], point["excess"]
    is_unseen = np.isnan(point["edge_server"].level)
    is_tail = is_unseen & (np.nan_to_num(p99.z, nan=-math.inf) > np.nan_to_num(p95.z, nan=-math.inf))
    scale = np.where(is_unseen, *(point.baselines.of(name).of(list(p95.keys))[:, 1] for name in ("edge_p99", "excess")))
    return _ClientWaits(
        np.where(is_unseen, np.fmax(p95.z, p99.z), excess.z),
        np.where(is_tail, p99.value - p99.level, p95.value - p95.level),
        np.where(is_unseen, p99.level, p95.level) * np.expm1(WORSE_Z * scale),
    )


def _is_clients_own(point: EvaluationPoint, callee: Service) -> bool:
    """Whether all clients that find a callee slow do so by their own fault, and it is no worse for any other."""
    own, waits, rows = point.memo(slow_clients), point.memo(_client_waits), point.incoming.get(callee, [])
    slow = {row for row in rows if waits.z[row] >= WORSE_Z}
    served = [point[name].z[row] for name in ("edge_server", "edge_error_rate") for row in rows]
    is_worse = _largest_z([*served, *(point.z(name, callee) for name in SERVICE_SIGNALS)]) >= WORSE_Z
    return bool(slow) and own >= slow and not is_worse


def _may_wait_for_network(point: EvaluationPoint, client: Service) -> bool:
    """Whether the network may delay the calls of a client that seems to wait for itself: its resources are normal.

    Only calls that servers measure as well can be slow on the way; without a known CPU usage the client is likelier.
    """
    if not math.isfinite(point.z("cpu", client)):
        return False
    own = [row for row in point.outgoing.get(client, ()) if row in point.memo(slow_clients)]
    is_between = bool(np.isfinite(point["excess"].z[own]).any())
    return is_between and not _largest_z(point.z(name, client) for name in RESOURCE_SIGNALS) >= WORSE_Z


def _largest_z(z: Iterable[float]) -> float:
    """The largest known value; NaN without any."""
    return max((value for value in z if not math.isnan(value)), default=math.nan)


OTHER_CAUSES: Sequence[Callable[[EvaluationPoint, Service, Sequence[Edge]], float]] = (
    _overloaded,
    lambda point, callee, _: longer_requests(point, callee),
    _passes_on,
    # Only a client finds it slow, by its own fault.
    lambda point, callee, _: float(_is_clients_own(point, callee)),
    lambda point, callee, _: 1 - MAX_UNOBSERVED_STRENGTH if _may_wait_for_network(point, callee) else 0.0,
    # It is slow on the way to its clients; failures that it reports itself are its own.
    lambda point, callee, edges: (
        0.0
        if point.z("error_rate", callee) >= EXTREME_Z
        else confidence(max((point.z("excess", edge) for edge in edges), key=np.nan_to_num), EXTREME_Z, 1.0)
    ),
    # It waits for others on its GPUs.
    lambda point, callee, _: confidence(
        _largest_z(point["gpu_wait_by"].z[point.gpu_wait_pairs.get(callee, [])].tolist()), EXTREME_Z, 1.0
    ),
    lambda point, callee, _: lost_gpu_time(point, callee),
)
"""Confidence (0 to 1) in each other cause that makes a callee worse, the cheapest to compute first."""


def _own(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> tuple[list[float], list[float]]:
    """Scales by which the callee is slower, and fails more, where it serves."""
    slow, failing = ([point.z(*shown) for shown in symptoms(point, name, callee)] for name in SERVICE_SIGNALS)
    for edge in edges:
        server = point.z("edge_server", edge)
        slow.append(point.z("edge_p95", edge) if math.isnan(server) else server)
        if shows_in_tail(point, edge):
            slow.append(point.z("edge_p99", edge))
        if math.isnan(point.value("error_rate", callee)):
            failing.append(point.z("edge_error_rate", edge))
    return [z for z in slow if not math.isnan(z)], [z for z in failing if not math.isnan(z)]


def _z(point: EvaluationPoint, edge: Edge) -> float:
    """Scales by which an edge is worse for its client; 0 if unknown."""
    tail = ("edge_p99",) if shows_in_tail(point, edge) else ()
    z = _largest_z(point.z(name, edge) for name in ("edge_p95", "edge_error_rate", "edge_server", *tail))
    return 0.0 if math.isnan(z) else z


def affects(point: EvaluationPoint, caller: Service, edges: Sequence[Edge]) -> float:
    """Confidence (0 to 1) that a callee affects a caller: its calls are worse, and explain much of its trouble."""
    if math.isnan(point.level("rate", caller)):
        return 0.0  # a service without requests has no latency
    calls = [edge for edge in edges if edge.client == caller]
    return max((max(_slows(point, caller, edge), _about_to_affect(point, caller, edge)) for edge in calls), default=0.0)


def _slows(point: EvaluationPoint, caller: Service, edge: Edge) -> float:
    """Confidence (0 to 1) that an edge makes a caller slower or fail more."""
    return max(
        min(
            confidence(point.z(*shown), WORSE_Z, 0.5),
            confidence(point.z(called, edge), WORSE_Z, 0.5),
            EXPLAINED_SHARE.confidence(explained_share(point, shown, edge, called)),
        )
        for own, called in _signal_pairs(point, edge)
        for shown in symptoms(point, own, caller)
    )


def explained_share(point: EvaluationPoint, shown: Shown, edge: Edge, called: str) -> float:
    """The rise of an edge's signal over that of its caller, or of an operation of it, at least 0."""
    whole, part = rise(point, *shown), rise(point, called, edge)
    return part / whole if whole > 0 and part > 0 else 0.0


def _about_to_affect(point: EvaluationPoint, caller: Service, edge: Edge) -> float:
    """Confidence (0 to 1) that a caller is about to be affected: the callee is so slow that attempts time out.

    Retries hide that until too many calls fail twice: with p of the attempts, p² of the calls. A caller that does not
    show these failures has a fallback; one that calls for few of its requests shows them for those.
    """
    failed, shown = rise(point, "edge_error_rate", edge), rise(point, "error_rate", caller)
    often = point.level("edge_rate", edge) / point.level("rate", caller)
    twice = failed**2 * (min(1.0, often) if math.isfinite(often) else 1.0)
    if twice > VISIBLE_FAILED_RATIO and shown < twice / 4:
        return 0.0
    return min(
        MAX_FORECAST_STRENGTH,
        FAILED_ATTEMPTS.confidence(failed),
        TIMEOUT_SLOWDOWN.confidence(point.ratio("edge_p95", edge)),
    )


def _severity(point: EvaluationPoint, callee: Service, edges: Sequence[Edge]) -> float:
    ratios = [point.ratio(name, callee) for name in ("p95", "per_token")]
    ratios += [point.ratio("edge_p95", edge) for edge in edges]
    ratios += [point.ratio("edge_p99", edge) for edge in edges if shows_in_tail(point, edge)]
    return min(MAX_SEVERITY, max((ratio for ratio in ratios if math.isfinite(ratio)), default=1.0))


def _figures(point: EvaluationPoint, key: Key, names: Sequence[str]) -> tuple[Evidence, ...]:
    return known_evidence(*(evidence_of(point, name, key) for name in names), zeros=False)


def _symptoms(point: EvaluationPoint, service: Service) -> tuple[Evidence, ...]:
    """Latency and errors of a service, and of an operation that is worse."""
    shown = (item for name in SERVICE_SIGNALS for item in symptoms(point, name, service))
    return known_evidence(*(evidence_of(point, *item) for item in shown), zeros=False)


def fans_out(point: EvaluationPoint, edge: Edge) -> float:
    """Confidence (0 to 1) that a client makes several calls on an edge per request."""
    requests = point.level("rate", edge.client)
    return FANOUT.confidence(point.level("edge_rate", edge) / requests) if requests > 0 else 0.0


def _latency_signal(point: EvaluationPoint, edge: Edge) -> str:
    """The signal of an edge that shows where the callee is slow: at the server, if that reports it."""
    if not math.isnan(point.level("edge_server", edge)):
        return "edge_server"
    return "edge_p99" if shows_in_tail(point, edge) else "edge_p95"


def shows_in_tail(point: EvaluationPoint, edge: Edge) -> bool:
    """Whether the slowest of the calls to a service that only clients report count, while their p95 stays normal.

    A request that makes several queries, of which one waits for a lock, is slow. With one query per request, the
    slowest queries are those of the slowest requests. With fewer, they are of too few requests to show at the caller.
    """
    is_counted = point.value("edge_rate", edge) * count_seconds(point) >= MIN_TAIL_REQUESTS
    requests = point.level("rate", edge.client)
    is_frequent = requests > 0 and point.level("edge_rate", edge) >= MIN_TAIL_CALLS * requests
    return is_counted and is_frequent and math.isnan(point.level("edge_server", edge))


def latency_signals(point: EvaluationPoint, edge: Edge) -> tuple[str, ...]:
    """Signals of how long calls take; also p99 where only that shows it."""
    return ("edge_p95", "edge_p99") if shows_in_tail(point, edge) else ("edge_p95",)


def _signal_pairs(point: EvaluationPoint, edge: Edge) -> Sequence[tuple[str, str]]:
    """Signals of a caller, and those of its calls on an edge that they follow."""
    return (*SIGNAL_PAIRS, ("p95", "edge_p99")) if shows_in_tail(point, edge) else SIGNAL_PAIRS


def tail_only(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that the median latency of a service is at its baseline, whatever its p95 is."""
    z = point.z("p50", service)
    return 0.0 if math.isnan(z) else 1 - confidence(z, WORSE_Z, 0.5)


def hidden_by_fanout(point: EvaluationPoint, service: Service) -> float:
    """Confidence (0 to 1) that a callee slows some requests of a service, although p95 of the calls does not show it.

    The service fans out to the callee, and other callers find it slower.
    """
    hidden = 0.0
    for edge in (point.world.edges[row] for row in point.outgoing.get(service, ())):
        if (fanout := fans_out(point, edge)) > hidden:
            rows = point.incoming[edge.server]
            z = _largest_z([*point["edge_p95"].z[rows].tolist(), *point["edge_server"].z[rows].tolist()])
            hidden = max(hidden, min(fanout, confidence(z, WORSE_Z, 0.5)))
    return min(hidden, tail_only(point, service)) if hidden else 0.0
