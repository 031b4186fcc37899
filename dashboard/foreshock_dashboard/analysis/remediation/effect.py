"""The expected effect of an action: a figure now, what it would be without what makes it worse, and its limit.

An effect is known only where both figures are, and only where the projected one is better, also once rounded. No figure
becomes better than its baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import ERROR_RATE_WEIGHT
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME, Key
from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.analysis.saturation.safe_limits import safe_limit
from foreshock_dashboard.model.action import ARRIVING_LOAD, Effect, LimitKind, Unit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.rounding import displayed

LOAD = "load"
"""Signal of the offered load over capacity."""
SIGNAL_PAIRS = ("p95", "edge_p95"), ("error_rate", "edge_error_rate")
"""Signals of a service that callers see, and those of its calls that they follow."""
SERVER_SIGNALS = "first_token", "per_token"
"""Signals of model servers, for a service without the former."""


def improvement(
    signal: str,
    subject: Service | tuple[Service, Service] | str,
    unit: Unit,
    now: float,
    projected: float,
    limit: float = math.nan,
    limit_kind: LimitKind | None = None,
) -> Effect | None:
    """The effect; None unless both figures are known and the projected one is better, also once rounded."""
    is_better = math.isfinite(now) and 0 <= projected < now and displayed(projected, unit) < displayed(now, unit)
    return Effect(signal, subject, unit, now, projected, limit, limit_kind) if is_better else None


def of_signal(point: EvaluationPoint, name: str, key: Service | Edge, projected: float) -> Effect | None:
    """The effect on a signal of a service or an edge that would fall to `projected`, or to its baseline if higher."""
    signal, baseline = SIGNAL_BY_NAME[name], point.level(name, key)
    floor = float(np.maximum(projected, baseline))  # NaN where either is
    unit: Unit = "ratio" if signal.unit == "ratio" else "s"
    text, subject = (name.removeprefix("edge_"), key[:2]) if isinstance(key, Edge) else (signal.text, key)
    return improvement(text, subject, unit, point.value(name, key), floor, baseline, "baseline")


def reduced(signal: str, service: Service, ratio: float) -> Effect | None:
    """The effect on a figure that would fall to a ratio of its present value; None unless it is within 0 and 1."""
    if not (math.isfinite(ratio) and 0 < ratio < 1 and displayed(ratio, "ratio") < 1):
        return None
    return Effect(signal, service, "ratio", math.nan, ratio)


def of_load(point: EvaluationPoint, service: Service, load: float, ratio: float) -> Effect | None:
    """The effect on the load of a service whose load without its backlog, `load`, would fall to a ratio of itself.

    Where the load is unknown, the effect is that ratio.
    """
    utilization = point.utilizations.get(service)
    if utilization is not None and math.isfinite(load):
        limit = safe_limit(utilization)
        signal = ARRIVING_LOAD if utilization.load > 1 else LOAD  # a queue is part of the load, but does not arrive
        if effect := improvement(signal, service, "ratio", load, load * ratio, limit, "safe_limit"):
            return effect
    return reduced(LOAD, service, ratio)


def with_slo(effect: Effect | None, slo: Slo | None) -> Effect | None:
    """The effect with the SLO of its subject as the limit, where the figure has one."""
    if effect is None or slo is None:
        return effect
    limits = {SIGNAL_BY_NAME["p95"].text: slo.seconds, SIGNAL_BY_NAME["error_rate"].text: slo.error_rate}
    limit = limits.get(effect.signal, math.nan)
    return effect._replace(limit=limit, limit_kind="slo") if math.isfinite(limit) else effect


def at_baseline(point: EvaluationPoint, service: Service) -> Effect | None:
    """The largest effect on a service if all of its signals were at their baseline; None if nothing would improve."""
    visible = best(of_signal(point, name, service, -math.inf) for name, _ in SIGNAL_PAIRS)
    return visible or first(of_signal(point, name, service, -math.inf) for name in SERVER_SIGNALS)


def caller_effect(point: EvaluationPoint, callers: Sequence[Service], callee: Service) -> Effect | None:
    """The largest effect on callers if calls to a callee were as fast, and failed as seldom, as at baseline.

    A caller that waits for several calls, or for their threads, gains more than this.
    """
    edges = (point.world.edges[row] for caller in callers for row in point.outgoing.get(caller, ()))
    return best(
        of_signal(point, own, edge.client, point.value(own, edge.client) - rise(point, called, edge))
        for edge in edges
        if edge.server == callee
        for own, called in SIGNAL_PAIRS
    )


def rise(point: EvaluationPoint, name: str, key: Key) -> float:
    """Rise of a signal over its baseline, without sampling noise; 0 if unknown."""
    value = point.denoised(name, key) - point.level(name, key)
    return value if math.isfinite(value) else 0.0


def best(effects: Iterable[Effect | None]) -> Effect | None:
    """The effect with the largest gain."""
    return max(filter(None, effects), key=gain, default=None)


def first(effects: Iterable[Effect | None]) -> Effect | None:
    """The first effect that is known."""
    return next(filter(None, effects), None)


def gain(effect: Effect) -> float:
    """Improvement of a figure: logarithm of its ratio; for error rates weighted by `ERROR_RATE_WEIGHT`."""
    if effect.unit == "ratio":
        return ERROR_RATE_WEIGHT * (effect.now - effect.projected)
    return math.log(effect.now / effect.projected) if effect.projected > 0 else math.inf
