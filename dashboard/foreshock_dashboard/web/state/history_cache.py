"""Service histories, made once per snapshot for all pages that show them."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at
from foreshock_dashboard.analysis.baseline.slos import Slo
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.service_history import SIGNALS, service_history
from foreshock_dashboard.web.state.stages import ServiceHistory

MAX_HISTORIES = 8
"""Histories and baselines of one snapshot that are cached: the pages of one incident share both."""


class HistoryCache:
    """Service histories of the newest snapshot, each made once. Safe to call from several threads."""

    def __init__(self) -> None:
        self._histories: SingleFlightCache[ServiceHistory] = SingleFlightCache(MAX_HISTORIES)
        self._baselines: SingleFlightCache[Baselines] = SingleFlightCache(MAX_HISTORIES)
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._rows = IdentityCache()

    def get(self, snapshot: Snapshot, world: World, onset: float | None, start: float) -> ServiceHistory:
        """All services from `start` to the World's time, against their baseline before `onset`.

        Only histories of the snapshot's own World are cached: other ranges are many, and each is looked at once.
        """
        if world is not snapshot.world:
            return service_history(world, start, world.time, onset, slos_of(snapshot), _breaching(snapshot))

        def baseline(at: int) -> Baselines:
            return self._baselines.get(at, lambda: baselines_at(world, at, SIGNALS, self._rows_of(snapshot)), snapshot)

        def make() -> ServiceHistory:
            return service_history(
                world, start, world.time, onset, slos_of(snapshot), _breaching(snapshot), base=baseline
            )

        return self._histories.get((start, onset), make, snapshot)

    def _rows_of(self, snapshot: Snapshot) -> IdentityCache:
        """Rows by key, which carry over from snapshot to snapshot while the keys stay."""
        with self._lock:
            if self._snapshot is not snapshot:
                self._snapshot, self._rows = snapshot, self._rows.next_step()
            return self._rows


def slos_of(snapshot: Snapshot) -> Mapping[Service, Slo]:
    """The SLO of each service that has one."""
    return {slo.service: Slo(slo.seconds, slo.failed) for slo in snapshot.forecast.slos}


def _breaching(snapshot: Snapshot) -> frozenset[Service]:
    """The services that breach their SLO now, according to the analysis."""
    at_risk = (risk for item in open_incidents(snapshot) for risk in item.at_risk)
    return frozenset(
        {risk.service for risk in snapshot.forecast.risks if risk.p50 <= 0}
        | {risk.service for risk in at_risk if risk.p50 <= 0}
    )
