"""What a figure would be without what makes it worse: the end of a next step.

It is told only where it is known, as is what the figure is now, and only where it is better, also as it reads. Nothing
is said to become better than it usually is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.excess import FAILING
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.baseline.signals import NAMED
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.render.units import duration, percent

FELT, SERVING = ("p95", "failed"), ("first_token", "per_token")
"""Signals by which those who call a service know that it is better; those of model servers where these do not tell."""


class Relief(NamedTuple):
    """A figure as it is now, and as it would be then, NaN where that is not known. unit: s, ratio, or "" of counts."""

    what: str
    unit: str
    now: float
    then: float

    @property
    def text(self) -> str:
        """`p95 of llm would be about 8.00 s instead of 14.0 s`; "" where that is not known, or no better."""
        if not (math.isfinite(self.now) and math.isfinite(self.then) and 0 <= self.then < self.now):
            return ""
        now, then = (_written(value, self.unit) for value in (self.now, self.then))
        return f"{self.what} would be about {then} instead of {now}" if _read(then) < _read(now) else ""

    @property
    def gain(self) -> float:
        """How much better that is: the logarithm of a ratio, of failed requests what it is worth (`excess.FAILING`)."""
        if self.unit == "ratio":
            return FAILING * (self.now - self.then)
        return math.log(self.now / self.then) if self.then > 0 else math.inf


def relieved(scan: Scan, name: str, key: Service | Edge, then: float) -> Relief:
    """A signal that would be `then`, in its unit, or as it usually is where that is more."""
    least = float(np.maximum(then, scan.level(name, key)))  # NaN where either is
    return Relief(_named(name, key), NAMED[name].unit, scan.value(name, key), least)


def best(reliefs: Iterable[Relief]) -> str:
    """The figure that becomes better by most, as text; "" where none does."""
    return max((each for each in reliefs if each.text), key=lambda each: each.gain, default=NONE).text


def first(reliefs: Iterable[Relief]) -> str:
    """The first figure that becomes better, as text; "" where none does."""
    return next((text for each in reliefs if (text := each.text)), "")


def as_usual(scan: Scan, who: Service) -> str:
    """What of a service would become better by most if all of it were as usual; "" where nothing would."""
    felt, serving = ([relieved(scan, name, who, -math.inf) for name in names] for names in (FELT, SERVING))
    return best(felt) or first(serving)


def share(what: str, part: float) -> str:
    """`load of llm would be 45 % of what it is`; "" where the part is not known, nothing, or the whole."""
    told = math.isfinite(part) and 0 < part < 1 and _read(percent(part)) < 100
    return f"{what} would be {percent(part)} of what it is" if told else ""


def ending(given: str, told: str, mark: str = ":") -> str:
    """What to add to a next step: `: with store as usual, p95 of …`; "" where nothing is told."""
    return f"{mark} {given}, {told}" if told else ""


NONE = Relief("", "", math.nan, math.nan)


def _named(name: str, key: Service | Edge) -> str:
    if isinstance(key, Edge):
        return f"{'failed' if name == 'edge_failed' else 'p95 of'} calls from {key.client} to {key.server}"
    return f"{NAMED[name].text} of {key}"


def _written(value: float, unit: str) -> str:
    return duration(value) if unit == "s" else percent(value) if unit == "ratio" else f"{value:.0f}"


def _read(text: str) -> float:
    """The number that a reader takes from it: `1000 ms` is no less than `1.00 s`, nor `<0.1 %` than `0.1 %`."""
    number, _, unit = text.removeprefix("<").partition(" ")
    return float(number) / (1000 if unit == "ms" else 1)
