"""The expected effect of an action: a figure now, and what it would be without what makes it worse.

An effect is known only where both figures are, and only where the projected one is better, also once rounded. No figure
becomes better than its baseline.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import ERROR_RATE_WEIGHT
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.signals import SIGNAL_BY_NAME
from foreshock_dashboard.model.action import Effect, EffectCondition, Unit
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.rounding import displayed

CALLER_SIGNALS, SERVER_SIGNALS = ("p95", "failed"), ("first_token", "per_token")
"""Signals that callers of a service see; those of its model servers, for a service without the former."""


def improvement(
    signal: str,
    subject: Service | tuple[Service, Service] | str,
    unit: Unit,
    now: float,
    projected: float,
    condition: EffectCondition,
) -> Effect | None:
    """The effect; None unless both figures are known and the projected one is better, also once rounded."""
    if not (math.isfinite(now) and math.isfinite(projected) and 0 <= projected < now):
        return None
    if displayed(projected, unit) >= displayed(now, unit):
        return None
    return Effect(signal, subject, unit, now, projected, condition)


def of_signal(
    point: EvaluationPoint,
    name: str,
    key: Service | Edge,
    projected: float,
    condition: EffectCondition,
) -> Effect | None:
    """The effect on a signal of a service or an edge that would fall to `projected`, or to its baseline if higher."""
    signal = SIGNAL_BY_NAME[name]
    floor = float(np.maximum(projected, point.level(name, key)))  # NaN where either is
    unit: Unit = "ratio" if signal.unit == "ratio" else "s"
    now = point.value(name, key)
    if isinstance(key, Edge):
        return improvement(name.removeprefix("edge_"), key[:2], unit, now, floor, condition)
    return improvement(signal.text, key, unit, now, floor, condition)


def reduced(signal: str, service: Service, ratio: float, condition: EffectCondition) -> Effect | None:
    """The effect on a figure that would fall to a ratio of its present value; None unless it is within 0 and 1."""
    if not (math.isfinite(ratio) and 0 < ratio < 1 and displayed(ratio, "ratio") < 1):
        return None
    return Effect(signal, service, "ratio", math.nan, ratio, condition)


def at_baseline(point: EvaluationPoint, service: Service, condition: EffectCondition) -> Effect | None:
    """The largest effect on a service if all of its signals were at their baseline; None if nothing would improve."""
    seen, serving = (
        [of_signal(point, name, service, -math.inf, condition) for name in names]
        for names in (CALLER_SIGNALS, SERVER_SIGNALS)
    )
    return best(seen) or first(serving)


def best(effects: Iterable[Effect | None]) -> Effect | None:
    """The effect with the largest gain."""
    return max((each for each in effects if each), key=gain, default=None)


def first(effects: Iterable[Effect | None]) -> Effect | None:
    """The first effect that is known."""
    return next((each for each in effects if each), None)


def gain(effect: Effect) -> float:
    """Improvement of a figure: logarithm of its ratio; for error rates weighted by `ERROR_RATE_WEIGHT`."""
    if effect.unit == "ratio":
        return ERROR_RATE_WEIGHT * (effect.now - effect.projected)
    return math.log(effect.now / effect.projected) if effect.projected > 0 else math.inf
