"""Rows of services and of the calls between them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge, Red
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_alignment import IntArray
from foreshock_dashboard.world.row_math import LabelFacts, LabelMap, safe_ratio, service_of
from foreshock_dashboard.world.section import Key, NameOf, Section
from foreshock_dashboard.world.sections import Growth, Sections

QUANTILES = ("p50", "p95", "p99", "lower_bound")
RED = ("rate", "failed", *QUANTILES)
Pair = tuple[Service, Service]


class CallRows:
    """Rows of services and edges. `tiers` of services override those in the samples."""

    def __init__(self, sections: Sections, tiers: Mapping[Service, str]) -> None:
        self.edges: Section[Edge] = sections.new(tuple)
        self.pairs: Section[Pair] = sections.new(tuple)
        self.serving: Section[Service] = sections.new(tuple)  # services with span metrics
        self.services: Section[Service] = sections.new(tuple)
        self._tiers: LabelFacts[Service, str] = LabelFacts(_tier)
        self._tier_overrides = tiers
        self._pair_of_edge: tuple[tuple[Edge, ...], IntArray] = ((), np.empty(0, np.int64))

    def update(self, readings: Readings, since: float) -> None:
        """Register the entities of new readings."""
        self._tiers.update(readings["tier"])
        for key in ("calls", "calls_failed", "client_p95", "server_p95"):
            self.edges.update(key, readings[key], _edge)
        for key in ("served", "served_failed", "served_p95"):
            self.serving.update(key, readings[key], service_of)
        self.edges.drop_idle(since)
        self.serving.drop_idle(since)
        if self._pair_of_edge[0] is not self.edges.keys:
            self.pairs.set_keys({(edge.client, edge.server) for edge in self.edges.keys})
            place = {pair: i for i, pair in enumerate(self.pairs.keys)}
            rows = np.array([place[edge.client, edge.server] for edge in self.edges.keys], np.int64)
            self._pair_of_edge = (self.edges.keys, rows)

    def all_services(self) -> set[Service]:
        """Services in spans. Virtual nodes such as `user` stand for the outside and are not services."""
        edges = self.edges.keys
        callers = {edge.client for edge in edges if edge.connection != "virtual_node"}
        return callers | {edge.server for edge in edges} | set(self.serving.keys)

    def set_services(self, services: Iterable[Service]) -> None:
        """Have rows for exactly these services."""
        self.services.set_keys(services)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        calls = _red(readings, "calls", "client", self.edges, _edge)
        pairs = self.pairs.rows("retries", readings["retries"], _pair)
        figures = {
            **calls,
            "server_p95": self.edges.rows("server_p95", readings["server_p95"], _edge),
            "attempts": _attempts(calls["rate"], pairs[self._pair_of_edge[1]]),
        }
        return [(self.services, _red(readings, "served", "served", self.services, service_of)), (self.edges, figures)]

    def red(self) -> Red:
        """Requests received by each service."""
        return Red(*(self.services[key] for key in RED))

    def calls(self) -> Red:
        """Requests on each edge."""
        return Red(*(self.edges[key] for key in RED))

    def tier(self) -> tuple[str, ...]:
        """Tier of each service, "" where unknown; empty where none is known."""
        tiers = {**self._tiers.facts, **self._tier_overrides}
        return tuple(tiers.get(service, "") for service in self.services.keys) if tiers else ()


def _red(readings: Readings, key: str, seconds: str, section: Section[Key], name: NameOf[Key]) -> dict[str, Floats]:
    total = section.rows(key, readings[key], name)
    failed = section.rows(f"{key}_failed", readings[f"{key}_failed"], name)
    errors = np.where(np.isnan(total), np.nan, np.nan_to_num(failed))
    quantiles = {q: section.rows(f"{seconds}_{q}", readings[f"{seconds}_{q}"], name) for q in QUANTILES}
    quantiles["lower_bound"] = _half_precision(quantiles["lower_bound"])
    return {"rate": total, "failed": np.minimum(safe_ratio(errors, total), 1.0), **quantiles}


def _half_precision(seconds: Floats) -> Floats:
    """Half precision saves memory; a bound is only compared, and 0.1% does not matter."""
    reduced: Floats = np.minimum(seconds, np.finfo(np.float16).max).astype(np.float16)
    return reduced


def _attempts(calls: Floats, retries: Floats) -> Floats:
    """Attempts per call: 1 + retries per first attempt. The retry counter has no connection type."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(calls > 0, 1 + retries / np.maximum(calls - retries, 1e-9), np.nan)


def _edge(labels: LabelMap) -> Edge | None:
    client = Service(labels.get("client_service_namespace", ""), labels.get("client", ""))
    server = Service(labels.get("server_service_namespace", ""), labels.get("server", ""))
    return Edge(client, server, labels.get("connection_type", "")) if client.name and server.name else None


def _pair(labels: LabelMap) -> Pair | None:
    edge = _edge(labels)
    return (edge.client, edge.server) if edge else None


def _tier(labels: LabelMap) -> tuple[Service, str] | None:
    service = service_of(labels)
    return (service, labels.get("tier", "")) if service else None
