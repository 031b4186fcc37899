"""How services fared, worked out once a tick for all pages and stretches of time that show it."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from foreshock_dashboard.analysis.baseline.levels import Baselines, baselines_at
from foreshock_dashboard.analysis.baseline.objectives import Slo
from foreshock_dashboard.common.identity_cache import IdentityCache
from foreshock_dashboard.common.single_flight_cache import SingleFlightCache
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.world import World
from foreshock_dashboard.web.state.conditions import open_incidents
from foreshock_dashboard.web.state.course import LOOKED_AT, course
from foreshock_dashboard.web.state.stages import Course

MOST = 8
"""Courses of one tick that are kept, and moments before which things are as usual: pages of one incident share both."""


class Followed:
    """Of the snapshot that was asked about last. Safe to call from several threads."""

    def __init__(self) -> None:
        self._courses: SingleFlightCache[Course] = SingleFlightCache(MOST)
        self._usual: SingleFlightCache[Baselines] = SingleFlightCache(MOST)
        self._turn = threading.Lock()
        self._of: Snapshot | None = None
        self._who = IdentityCache()

    def __call__(self, snapshot: Snapshot, world: World, onset: float | None, start: float) -> Course:
        """How all services fared from `start` to the World's time, against what was usual before `onset`.

        Only of the snapshot's own World is anything kept: there are many stretches of the past, each looked at by one.
        """
        if world is not snapshot.world:
            return course(world, start, world.time, onset, promised(snapshot), _missing(snapshot))

        def base(at: int) -> Baselines:
            return self._usual.get(at, lambda: baselines_at(world, at, LOOKED_AT, self._remembered(snapshot)), snapshot)

        def make() -> Course:
            return course(world, start, world.time, onset, promised(snapshot), _missing(snapshot), base=base)

        return self._courses.get((start, onset), make, snapshot)

    def _remembered(self, snapshot: Snapshot) -> IdentityCache:
        """The rows of who there is, which are the same from tick to tick."""
        with self._turn:
            if self._of is not snapshot:
                self._of, self._who = snapshot, self._who.next_step()
            return self._who


followed = Followed()


def promised(snapshot: Snapshot) -> Mapping[Service, Slo]:
    """What services are judged by."""
    return {each.service: Slo(each.seconds, each.failed) for each in snapshot.forecast.slos}


def _missing(snapshot: Snapshot) -> frozenset[Service]:
    """Who misses its objective now, as the analysis has it."""
    told = {risk.service for risk in snapshot.forecast.risks if risk.p50 <= 0}
    return frozenset(
        told | {risk.service for item in open_incidents(snapshot) for risk in item.at_risk if risk.p50 <= 0}
    )
