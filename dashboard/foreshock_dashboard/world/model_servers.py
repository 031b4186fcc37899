"""Readings → what model servers tell, by service and by replica."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.model.model_servers import ModelServers, Replica
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.catalogue.row import PODS
from foreshock_dashboard.world.row_alignment import Numbers
from foreshock_dashboard.world.row_math import Named, ratio, service_of, totals
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections

TOLD = ("running", "waiting", "cache", "preempted", "finished", "prompt_tokens", "generated_tokens")
TIMED = ("queued", "per_token", "answered")
ALL = (*TOLD, *(f"{key}_{part}" for key in TIMED for part in ("sum", "count")))
BY_SERVICE = (*TOLD, "queued", "first_token", "per_token")
BY_REPLICA = ("replica_busy", "replica_finished", "replica_seconds")


class Serving:
    """Rows of replicas, and of the services that they are of. A replica that is gone tells nothing."""

    def __init__(self, sections: Sections) -> None:
        self.replicas: Section[Replica] = sections.new(tuple)
        self.services: Section[Service] = sections.new(tuple)
        self._of: tuple[tuple[Replica, ...], Numbers] = ((), np.empty(0, np.int64))
        self._gauges = False  # whether servers tell of their queues and batches at all

    def meet(self, readings: Readings, since: float) -> None:
        """Name what is told of."""
        for key in ALL:
            self.replicas.meet(key, readings[key], _replica)
        self.replicas.settle(since)
        if self._of[0] is not self.replicas.keys:
            services = sorted({replica.service for replica in self.replicas.keys})
            self.services.hold(services)
            place = {service: i for i, service in enumerate(self.services.keys)}
            of = np.array([place[replica.service] for replica in self.replicas.keys], np.int64)
            self._of = (self.replicas.keys, of)

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""
        rows = {key: self.replicas.rows(key, readings[key], _replica, while_up=True) for key in ALL}
        gauges = ~np.isnan(rows["running"]) | ~np.isnan(rows["waiting"])
        self._gauges = self._gauges or bool(gauges.any())
        if self._gauges:  # rates fade for a window after a replica has gone; its gauges end with it
            rows = {key: np.where(gauges, found, np.nan) for key, found in rows.items()}
        rows["cache"] = ratio(rows["cache"], self._engines(readings["cache"]))
        total = {key: self._total(found) for key, found in rows.items()}
        busy = np.where(gauges, np.nan_to_num(rows["running"]) + np.nan_to_num(rows["waiting"]), np.nan)
        by_service = {
            **{key: total[key] for key in TOLD},
            "cache": ratio(total["cache"], self._total((~np.isnan(rows["cache"])).astype(np.float64))),
            "queued": ratio(total["queued_sum"], total["queued_count"]),
            "per_token": ratio(total["per_token_sum"], total["per_token_count"]),
            "first_token": self.services.rows("first_token_p95", readings["first_token_p95"], _service, copies=True),
        }
        seconds = ratio(rows["answered_sum"], rows["answered_count"])
        by_replica = dict(zip(BY_REPLICA, (busy, rows["finished"], seconds), strict=True))
        return [(self.services, by_service), (self.replicas, by_replica)]

    def told(self) -> ModelServers | None:
        """What model servers tell; None where there is none."""
        if not self.replicas.keys:
            return None
        return ModelServers(
            services=self.services.keys,
            replicas=self.replicas.keys,
            **{key: self.services[key] for key in BY_SERVICE},
            **{key: self.replicas[key] for key in BY_REPLICA},
        )

    def _total(self, rows: Floats) -> Floats:
        return totals(rows, self._of[1], len(self.services.keys))

    def _engines(self, cache: Matrix) -> Floats:
        """How many engines each replica has: of the shares of their caches the mean counts."""
        told = Matrix(cache.times, cache.labels, np.where(np.isnan(cache.values), np.nan, 1.0))
        return self.replicas.rows("cache", told, _replica, while_up=True)


def _service(labels: Named) -> Service:
    """The service that a model server says it is, else its model's name, else its job's."""
    return service_of(labels) or Service("", labels.get("model_name") or labels.get("job", ""))


def _replica(labels: Named) -> Replica:
    """One pod, where that is told: several may stand on one page, and the sum of their caches is no share."""
    pod = next(filter(None, (labels.get(name) for name in PODS)), "")
    return Replica(_service(labels), pod or labels.get("instance", ""))
