"""Rows of the operations of services on GPUs; others are not needed and a fleet has many."""

from __future__ import annotations

from collections.abc import Iterable

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Operation, Tenant
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_math import LabelMap, service_of
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

READING = "operations"
MAX_OPERATIONS = 50
"""Operations per service; span names that contain ids would have no bound."""


class OperationRows:
    """Rows of operations, from the first sample of their service on a GPU."""

    def __init__(self, sections: Sections) -> None:
        self.rows: Section[Operation] = sections.new(tuple)
        self._on_gpus: frozenset[Service] = frozenset()
        self._names: dict[Service, set[str]] = {}
        self._freed = False  # whether a service at the bound has room again

    def update(self, readings: Readings, since: float, tenants: Iterable[Tenant]) -> None:
        """Register the entities of new readings."""
        on_gpus = frozenset(tenant.service for tenant in tenants)
        if on_gpus != self._on_gpus or self._freed:
            self._on_gpus, self._freed = on_gpus, False
            self.rows.forget(READING)
        self.rows.update(READING, readings[READING], self._operation)
        known = self.rows.keys
        self.rows.drop_idle(since)
        if self.rows.keys is not known:
            full = {service for service, names in self._names.items() if len(names) >= MAX_OPERATIONS}
            self._names = {}
            for service, name in self.rows.keys:
                self._names.setdefault(service, set()).add(name)
            self._freed = any(len(self._names.get(service, ())) < MAX_OPERATIONS for service in full)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        return [(self.rows, {"rate": self.rows.rows(READING, readings[READING], self._operation)})]

    def _operation(self, labels: LabelMap) -> Operation | None:
        service, name = service_of(labels), labels.get("span_name", "")
        if service is None or service not in self._on_gpus or not name:
            return None
        names = self._names.setdefault(service, set())
        if len(names) < MAX_OPERATIONS:
            names.add(name)
        return Operation(service, name) if name in names else None
