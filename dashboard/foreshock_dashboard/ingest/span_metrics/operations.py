"""The series of operations: spans of one service, name, kind and status."""

from __future__ import annotations

from itertools import compress

from foreshock_dashboard.ingest.span_metrics.labels import MAX_LENGTH, of_operation
from foreshock_dashboard.ingest.span_metrics.names import CALLS, DURATION
from foreshock_dashboard.ingest.span_metrics.registry import OTHER, Registry, Series
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Kind, Outlines, Status

MAX_NAMES = 200
"""Span names that each service may have in metrics; further ones are counted together as `OTHER`."""
MAX_SERVICES = 10_000
"""Services whose span names are remembered."""
MAX_READY = 20_000
"""Operations whose series are at hand."""

_Operation = tuple[Service, str, Kind, Status]


class Operations:
    """Counts calls of operations, and how long they took."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._names: dict[Service, set[str]] = {}
        self._ready: dict[_Operation, tuple[Series, int]] = {}

    def count(self, outlines: Outlines, now: float) -> None:
        """Count spans; INTERNAL ones are no calls."""
        calls = [kind != "internal" for kind in outlines.kind]
        operations = zip(outlines.service, outlines.name, outlines.kind, outlines.status, strict=True)
        rows: list[int] = []
        ready = self._ready.get
        for operation in compress(operations, calls):
            series, row = ready(operation) or self._series(operation, now)
            series.value += 1.0
            series.touched = now
            rows.append(row)
        seconds = [(end - start) / 1e9 for start, end in zip(outlines.start_ns, outlines.end_ns, strict=True)]
        self._registry.observe_columns(rows, [*compress(seconds, calls)], [*compress(outlines.key, calls)])

    def forget(self) -> None:
        """Let go of the series: some have ended."""
        self._ready.clear()

    def _series(self, operation: _Operation, now: float) -> tuple[Series, int]:
        service, name, kind, status = operation
        shown = self._name(service, name[:MAX_LENGTH])
        labels = of_operation(service, shown, kind, status)
        calls, seconds = self._registry.get(CALLS, labels, now), self._registry.get(DURATION, labels, now)
        found = calls, seconds.row
        if shown == name and not calls.other and not seconds.other:
            if len(self._ready) >= MAX_READY:
                self._ready.clear()
            self._ready[operation] = found
        return found

    def _name(self, service: Service, name: str) -> str:
        if service not in self._names and len(self._names) >= MAX_SERVICES:
            self._names.clear()
        names = self._names.setdefault(service, set())
        if name not in names:
            if len(names) >= MAX_NAMES:
                return OTHER
            names.add(name)
        return name
