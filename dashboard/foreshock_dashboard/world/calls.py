"""Readings → services and the calls between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Red
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_alignment import Numbers
from foreshock_dashboard.world.row_math import Named, Told, ratio, service_of
from foreshock_dashboard.world.section import Key, NameOf, Section
from foreshock_dashboard.world.sections import Growth, Sections

QUANTILES = ("p50", "p95", "p99", "lower_bound")
RED = ("rate", "failed", *QUANTILES)
Pair = tuple[Service, Service]


class Calls:
    """Rows of services and of the edges between them. `tiers`: of services, whatever is told of those."""

    def __init__(self, sections: Sections, tiers: Mapping[Service, str]) -> None:
        self.edges: Section[Edge] = sections.new(tuple)
        self.pairs: Section[Pair] = sections.new(tuple)
        self.serving: Section[Service] = sections.new(tuple)  # those that spans tell of
        self.services: Section[Service] = sections.new(tuple)
        self._tiers: Told[Service, str] = Told(_tier)
        self._given = tiers
        self._of: tuple[tuple[Edge, ...], Numbers] = ((), np.empty(0, np.int64))

    def meet(self, readings: Readings, since: float) -> None:
        """Name what is told of."""
        self._tiers.meet(readings["tier"])
        for key in ("calls", "calls_failed", "client_p95", "server_p95"):
            self.edges.meet(key, readings[key], _edge)
        for key in ("served", "served_failed", "served_p95"):
            self.serving.meet(key, readings[key], service_of)
        self.edges.settle(since)
        self.serving.settle(since)
        if self._of[0] is not self.edges.keys:
            self.pairs.hold({(edge.client, edge.server) for edge in self.edges.keys})
            place = {pair: i for i, pair in enumerate(self.pairs.keys)}
            of = np.array([place[edge.client, edge.server] for edge in self.edges.keys], np.int64)
            self._of = (self.edges.keys, of)

    def named(self) -> set[Service]:
        """The services that spans tell of. `user` and the like stand for who is outside; they are no services."""
        edges = self.edges.keys
        callers = {edge.client for edge in edges if edge.connection != "virtual_node"}
        return callers | {edge.server for edge in edges} | set(self.serving.keys)

    def hold(self, services: Iterable[Service]) -> None:
        """Have a row for these services."""
        self.services.hold(services)

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""
        calls = _red(readings, "calls", "client", self.edges, _edge)
        pairs = self.pairs.rows("retries", readings["retries"], _pair)
        told = {
            **calls,
            "server_p95": self.edges.rows("server_p95", readings["server_p95"], _edge),
            "attempts": _attempts(calls["rate"], pairs[self._of[1]]),
        }
        return [(self.services, _red(readings, "served", "served", self.services, service_of)), (self.edges, told)]

    def red(self) -> Red:
        """What services were asked."""
        return Red(*(self.services[key] for key in RED))

    def calls(self) -> Red:
        """What went over edges."""
        return Red(*(self.edges[key] for key in RED))

    def tier(self) -> tuple[str, ...]:
        """The tier of each service, "" where nobody says; empty where nobody says anything."""
        tiers = {**self._tiers.found, **self._given}
        return tuple(tiers.get(service, "") for service in self.services.keys) if tiers else ()


def _red(readings: Readings, what: str, seconds: str, section: Section[Key], name: NameOf[Key]) -> dict[str, Floats]:
    total = section.rows(what, readings[what], name)
    failed = section.rows(f"{what}_failed", readings[f"{what}_failed"], name)
    errors = np.where(np.isnan(total), np.nan, np.nan_to_num(failed))
    took = {key: section.rows(f"{seconds}_{key}", readings[f"{seconds}_{key}"], name) for key in QUANTILES}
    took["lower_bound"] = _roughly(took["lower_bound"])
    return {"rate": total, "failed": np.minimum(ratio(errors, total), 1.0), **took}


def _roughly(seconds: Floats) -> Floats:
    """In half the room: a bound is only compared, and a thousandth more or less is nothing."""
    rough: Floats = np.minimum(seconds, np.finfo(np.float16).max).astype(np.float16)
    return rough


def _attempts(calls: Floats, retries: Floats) -> Floats:
    """Attempts per call: one plus retries per first attempt. The retry counter knows no connection type."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(calls > 0, 1 + retries / np.maximum(calls - retries, 1e-9), np.nan)


def _edge(labels: Named) -> Edge | None:
    client = Service(labels.get("client_service_namespace", ""), labels.get("client", ""))
    server = Service(labels.get("server_service_namespace", ""), labels.get("server", ""))
    return Edge(client, server, labels.get("connection_type", "")) if client.name and server.name else None


def _pair(labels: Named) -> Pair | None:
    edge = _edge(labels)
    return (edge.client, edge.server) if edge else None


def _tier(labels: Named) -> tuple[Service, str] | None:
    service = service_of(labels)
    return (service, labels.get("tier", "")) if service else None
