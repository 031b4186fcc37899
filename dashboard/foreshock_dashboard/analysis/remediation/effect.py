"""The expected effect of an action: a figure now, and what it would be without what makes it worse.

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
from foreshock_dashboard.model.action import Effect, EffectCondition, Unit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.rounding import displayed

SIGNAL_PAIRS = ("p95", "edge_p95"), ("failed", "edge_failed")
"""Signals of a service that callers see, and those of its calls that they follow."""
SERVER_SIGNALS = "first_token", "per_token"
"""Signals of model servers, for a service without the former."""


def improvement(
    signal: str,
    subject: Service | tuple[Service, Service] | str,
    unit: Unit,
    now: float,
    projected: float,
    condition: EffectCondition,
) -> Effect | None:
    """The effect; None unless both figures are known and the projected one is better, also once rounded."""
    is_better = math.isfinite(now) and 0 <= projected < now and displayed(projected, unit) < displayed(now, unit)
    return Effect(signal, subject, unit, now, projected, condition) if is_better else None


def of_signal(
    point: EvaluationPoint, name: str, key: Service | Edge, projected: float, condition: EffectCondition
) -> Effect | None:
    """The effect on a signal of a service or an edge that would fall to `projected`, or to its baseline if higher."""
    signal = SIGNAL_BY_NAME[name]
    floor = float(np.maximum(projected, point.level(name, key)))  # NaN where either is
    unit: Unit = "ratio" if signal.unit == "ratio" else "s"
    text, subject = (name.removeprefix("edge_"), key[:2]) if isinstance(key, Edge) else (signal.text, key)
    return improvement(text, subject, unit, point.value(name, key), floor, condition)


def reduced(signal: str, service: Service, ratio: float, condition: EffectCondition) -> Effect | None:
    """The effect on a figure that would fall to a ratio of its present value; None unless it is within 0 and 1."""
    if not (math.isfinite(ratio) and 0 < ratio < 1 and displayed(ratio, "ratio") < 1):
        return None
    return Effect(signal, service, "ratio", math.nan, ratio, condition)


def at_baseline(point: EvaluationPoint, service: Service, condition: EffectCondition) -> Effect | None:
    """The largest effect on a service if all of its signals were at their baseline; None if nothing would improve."""
    visible = best(of_signal(point, name, service, -math.inf, condition) for name, _ in SIGNAL_PAIRS)
    return visible or first(of_signal(point, name, service, -math.inf, condition) for name in SERVER_SIGNALS)


def caller_effect(point: EvaluationPoint, callers: Sequence[Service], callee: Service) -> Effect | None:
    """The largest effect on callers if calls to a callee were as fast, and failed as seldom, as at baseline.

    A caller that waits for several calls, or for their threads, gains more than this.
    """
    edges = (point.world.edges[row] for caller in callers for row in point.out.get(caller, ()))
    return best(
        of_signal(point, own, edge.client, point.value(own, edge.client) - rise(point, called, edge), "callee_as_usual")
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
