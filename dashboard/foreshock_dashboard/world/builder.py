"""Readings → World: name the rows, join them on the service, and let them grow from tick to tick."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import DTypeLike

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.seasonality import UNKNOWN_SEASONALITY
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World
from foreshock_dashboard.world.calls import Calls
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.cluster import Cluster
from foreshock_dashboard.world.gpus import GIVEN, OnGpus
from foreshock_dashboard.world.histogram_quantiles import Condenser
from foreshock_dashboard.world.hosts import Hosts
from foreshock_dashboard.world.model_servers import Serving
from foreshock_dashboard.world.operations import Operations
from foreshock_dashboard.world.row_math import Named, Told, last_told
from foreshock_dashboard.world.sections import Sections
from foreshock_dashboard.world.targets import Address, target_of

__all__ = ["GrowingWorld", "condensed", "world_of"]

LEAST = 1980.0
"""Seconds of history that there has to be: half an hour to learn from, minutes that are left out of what is learned."""
MOCKED = 60
"""Grid points for which simulated data is told of after it was last seen."""


def condensed(readings: Readings) -> Readings:
    """Readings with quantiles in place of buckets: see `Condenser`."""
    return Condenser()(readings)


def world_of(readings: Readings, step: float, missing: tuple[str, ...] = ()) -> World:
    """Build the World from condensed readings. Pure; `step` is the grid's, in seconds.

    Services are all that serve, call, hold a GPU or answer for a model; deployments only where nothing else tells of
    services, for most of a cluster's are none of the platform's.
    """
    return GrowingWorld(step).add(readings, missing)


class GrowingWorld:
    """The World of the last `keep` seconds, which grows by what is new: the same as one made of everything at once.

    What says who something is (the name of a host, the deployment of an autoscaler) holds from when it is told.
    `tiers`: of services, over what is told. `dtype`: of the arrays. `room`: bytes that they may take; where `keep` does
    not fit, less is kept, `LEAST` at least.
    A World that was given away is never changed. Not thread-safe.
    """

    def __init__(
        self,
        step: float,
        keep: float = np.inf,
        dtype: DTypeLike = np.float64,
        room: float = np.inf,
        tiers: Mapping[Service, str] = MappingProxyType({}),
    ) -> None:
        self._step = step
        self._keep = keep
        self._room = room
        self._times: Floats = np.empty(0)
        self._sections = Sections(dtype)
        self._hosts: Told[Address, str] = Told(_host)
        self._cluster = Cluster(self._sections)
        self._gpus = OnGpus(self._sections, self._hosts, self._cluster.workload_of)
        self._calls = Calls(self._sections, tiers)
        self._operations = Operations(self._sections)
        self._serving = Serving(self._sections)
        self._network = Hosts(self._sections, self._hosts)
        self._known: tuple[tuple[object, ...], frozenset[Service]] = ((), frozenset())
        self._mocked = -np.inf

    def add(self, readings: Readings, missing: tuple[str, ...] = ()) -> World:
        """The World with what is new in condensed readings; grid points that were added already change nothing."""
        try:
            return self._grown(self._new(readings), missing)
        finally:
            self._sections.marker.let_go()

    def _grown(self, readings: Readings, missing: tuple[str, ...]) -> World:
        times = readings["up"].times
        since = float((times if len(times) else self._times)[-1]) - self._kept()
        if not len(times):
            return self._world(since, self._named(), missing)
        self._sections.targets.meet(readings["up"])
        mock = readings["mock"]
        self._mocked = max(self._mocked, last_told(Matrix(times, mock.labels, np.where(mock.values > 0, 1.0, np.nan))))
        renamed = self._hosts.meet(readings["host"])
        moved = self._cluster.meet(readings, since)
        self._gpus.meet(readings, since, renamed or moved)
        self._network.meet(readings, since, renamed)
        self._serving.meet(readings, since)
        self._calls.meet(readings, since)
        self._operations.meet(readings, since, self._gpus.tenants.keys)
        known = self._named()
        self._calls.hold(known or self._cluster.workloads.keys)
        parts = (self._cluster, self._gpus, self._network, self._serving, self._calls, self._operations)
        growth = [each for part in parts for each in part.arrange(readings)]
        for section, figures in growth:
            section.grow(len(self._times), figures)
        reached = np.concatenate([self._times, times])
        self._times = reached[reached >= since]
        self._sections.trim(len(reached) - len(self._times))
        return self._world(since, known, missing)

    def _new(self, readings: Readings) -> Readings:
        times = readings["up"].times
        if not len(self._times) or times[0] > self._times[-1]:
            return readings
        new = times > self._times[-1]
        return {key: Matrix(times[new], each.labels, each.values[:, new]) for key, each in readings.items()}

    def _kept(self) -> float:
        """Seconds of history that there is room for."""
        column = self._sections.column_bytes
        fitting = self._room / column * self._step if column else np.inf
        return min(self._keep, max(LEAST, fitting))

    def _named(self) -> frozenset[Service]:
        """The services that are told of; the same object as long as they are the same."""
        calls, serving, tenants = self._calls, self._serving.services.keys, self._gpus.tenants.keys
        sources: tuple[object, ...] = (calls.edges.keys, calls.serving.keys, serving, tenants)
        if any(one is not other for one, other in zip(sources, self._known[0] or (None,) * 4, strict=True)):
            named = frozenset({*calls.named(), *serving, *(tenant.service for tenant in tenants)})
            self._known = (sources, self._known[1] if named == self._known[1] else named)
        return self._known[1]

    def _world(self, since: float, known: frozenset[Service], missing: tuple[str, ...]) -> World:
        gpus, calls = self._gpus, self._calls
        now = float(self._times[-1])
        return World(
            times=self._times,
            step=self._step,
            services=calls.services.keys,
            red=calls.red(),
            edges=calls.edges.keys,
            calls=calls.calls(),
            server_p95=calls.edges["server_p95"],
            attempts=calls.edges["attempts"],
            gpus=gpus.gpus.keys,
            **{key: gpus.gpus[key] for key in GIVEN},
            tenants=gpus.tenants.keys,
            busy=gpus.tenants["busy"],
            stalled=gpus.tenants["stalled"],
            memory=gpus.tenants["memory"],
            stalls=gpus.stalls.keys,
            stalled_by=gpus.stalls["stalled_by"],
            operations=self._operations.rows.keys,
            operation_rate=self._operations.rows["rate"],
            targets=self._sections.targets.listed(gpus.targets(), since, now),
            missing=missing,
            simulated=self._mocked > max(now - MOCKED * self._step, since - self._step),
            model_servers=self._serving.told(),
            capacity=self._cluster.told(known),
            network=self._network.told(),
            hardware=gpus.hardware(since),
            pool=gpus.pool(),
            tier=calls.tier(),
            season=UNKNOWN_SEASONALITY,
        )


def _host(labels: Named) -> tuple[Address, str] | None:
    return (target_of(labels), labels["host_name"]) if labels.get("host_name") else None
