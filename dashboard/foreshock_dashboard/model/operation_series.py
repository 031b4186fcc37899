"""The series of one operation: spans of one service, name, kind and status."""

from __future__ import annotations

from foreshock_dashboard.model.families import CALLS, DURATION
from foreshock_dashboard.model.registry import Registry
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.span import Id


class OperationSeries:
    """Adds to them. `other`: not both have room of their own; then they are not to be kept at hand."""

    __slots__ = ("_calls", "_observe", "other")

    def __init__(self, labels: Labels, registry: Registry, now: float) -> None:
        self._calls, seconds = registry.get(CALLS, labels, now), registry.get(DURATION, labels, now)
        self._observe = seconds.observe
        self.other = self._calls.other or seconds.other

    def count(self, seconds: float, span: Id, now: float) -> None:
        """Count a span."""
        calls = self._calls
        calls.value += 1.0
        calls.touched = now
        self._observe(seconds, span)
