"""Rows of model servers, by replica and by service."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.model_servers import ModelServers, Replica
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.catalogue.row import POD_LABELS
from foreshock_dashboard.world.row_alignment import IntArray
from foreshock_dashboard.world.row_math import LabelMap, safe_ratio, service_of, sums_by_group
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

GAUGE_READINGS = ("running", "waiting", "cache", "preempted", "finished", "prompt_tokens", "generated_tokens")
DURATION_READINGS = ("queued", "per_token", "answered")
ALL_READINGS = (*GAUGE_READINGS, *(f"{key}_{part}" for key in DURATION_READINGS for part in ("sum", "count")))
SERVICE_FIGURES = (*GAUGE_READINGS, "queued", "first_token", "per_token")
REPLICA_FIGURES = ("replica_busy", "replica_finished", "replica_seconds")


class ModelServerRows:
    """Rows of replicas and of their services. A replica that is gone has no values."""

    def __init__(self, sections: Sections) -> None:
        self.replicas: Section[Replica] = sections.new(tuple)
        self.services: Section[Service] = sections.new(tuple)
        self._service_of_replica: tuple[tuple[Replica, ...], IntArray] = ((), np.empty(0, np.int64))
        self._gauges = False  # whether any server reports its queue or batch

    def update(self, readings: Readings, since: float) -> None:
        """Register the entities of new readings."""
        for key in ALL_READINGS:
            self.replicas.update(key, readings[key], _replica)
        self.replicas.drop_idle(since)
        if self._service_of_replica[0] is not self.replicas.keys:
            services = sorted({replica.service for replica in self.replicas.keys})
            self.services.set_keys(services)
            place = {service: i for i, service in enumerate(self.services.keys)}
            rows = np.array([place[replica.service] for replica in self.replicas.keys], np.int64)
            self._service_of_replica = (self.replicas.keys, rows)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        rows = {key: self.replicas.rows(key, readings[key], _replica, while_up=True) for key in ALL_READINGS}
        gauges = ~np.isnan(rows["running"]) | ~np.isnan(rows["waiting"])
        self._gauges = self._gauges or bool(gauges.any())
        if self._gauges:  # rates fade for a window after a replica is gone; its gauges end at once
            rows = {key: np.where(gauges, values, np.nan) for key, values in rows.items()}
        rows["cache"] = safe_ratio(rows["cache"], self._engines(readings["cache"]))
        total = {key: self._total(values) for key, values in rows.items()}
        busy = np.where(gauges, np.nan_to_num(rows["running"]) + np.nan_to_num(rows["waiting"]), np.nan)
        by_service = {
            **{key: total[key] for key in GAUGE_READINGS},
            "cache": safe_ratio(total["cache"], self._total((~np.isnan(rows["cache"])).astype(np.float64))),
            "queued": safe_ratio(total["queued_sum"], total["queued_count"]),
            "per_token": safe_ratio(total["per_token_sum"], total["per_token_count"]),
            "first_token": self.services.rows("first_token_p95", readings["first_token_p95"], _service, copies=True),
        }
        seconds = safe_ratio(rows["answered_sum"], rows["answered_count"])
        by_replica = dict(zip(REPLICA_FIGURES, (busy, rows["finished"], seconds), strict=True))
        return [(self.services, by_service), (self.replicas, by_replica)]

    def model_servers(self) -> ModelServers | None:
        """Model servers; None without replicas."""
        if not self.replicas.keys:
            return None
        return ModelServers(
            services=self.services.keys,
            replicas=self.replicas.keys,
            **{key: self.services[key] for key in SERVICE_FIGURES},
            **{key: self.replicas[key] for key in REPLICA_FIGURES},
        )

    def _total(self, rows: Floats) -> Floats:
        return sums_by_group(rows, self._service_of_replica[1], len(self.services.keys))

    def _engines(self, cache: Matrix) -> Floats:
        """Number of engines per replica; the mean of their cache usage counts."""
        ones = Matrix(cache.times, cache.labels, np.where(np.isnan(cache.values), np.nan, 1.0))
        return self.replicas.rows("cache", ones, _replica, while_up=True)


def _service(labels: LabelMap) -> Service:
    """Service label of a model server, else its model name, else its job."""
    return service_of(labels) or Service("", labels.get("model_name") or labels.get("job", ""))


def _replica(labels: LabelMap) -> Replica:
    """Replica by pod where known: one target can report several, and cache usage must not be summed."""
    pod = next(filter(None, (labels.get(name) for name in POD_LABELS)), "")
    return Replica(_service(labels), pod or labels.get("instance", ""))
