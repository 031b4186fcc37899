"""Readings → what services on GPUs are asked for, by operation. Of others nobody asks it, and a fleet has many."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Operation, Tenant
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_math import Named, service_of
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

READING = "operations"
MOST = 50
"""Operations of one service that are told apart: whoever has ids in the names of spans has any number."""


class Operations:
    """Rows of operations, from when their service was first seen on a GPU."""

    def __init__(self, sections: Sections) -> None:
        self.rows: Section[Operation] = sections.new(tuple)
        self._on_gpus: frozenset[Service] = frozenset()
        self._names: dict[Service, set[str]] = {}
        self._freed = False  # whether a service that had more than are told apart has room again

    def meet(self, readings: Readings, since: float, tenants: Iterable[Tenant]) -> None:
        """Name what is told of."""
        on_gpus = frozenset(tenant.service for tenant in tenants)
        if on_gpus != self._on_gpus or self._freed:
            self._on_gpus, self._freed = on_gpus, False
            self.rows.forget(READING)
        self.rows.meet(READING, readings[READING], self._operation)
        known = self.rows.keys
        self.rows.settle(since)
        if self.rows.keys is not known:
            full = {service for service, names in self._names.items() if len(names) >= MOST}
            self._names = {}
            for service, name in self.rows.keys:
                self._names.setdefault(service, set()).add(name)
            self._freed = any(len(self._names.get(service, ())) < MOST for service in full)

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""
        return [(self.rows, {"rate": self.rows.rows(READING, readings[READING], self._operation)})]

    def _operation(self, labels: Named) -> Operation | None:
        service, name = service_of(labels), labels.get("span_name", "")
        if service is None or service not in self._on_gpus or not name:
            return None
        names = self._names.setdefault(service, set())
        if len(names) < MOST:
            names.add(name)
        return Operation(service, name) if name in names else None
