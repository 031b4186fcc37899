"""Suspected causes of a service's trouble around a past time, from the minutes before and after it."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.incidents.learned import LEARN_SECONDS, Learned
from foreshock_dashboard.analysis.incidents.lifecycle import State, advance
from foreshock_dashboard.analysis.root_cause.ranking import blame
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.model.action import Reason
from foreshock_dashboard.model.incident import Candidate
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

OFFSETS_SECONDS = (0.0, 60.0, 120.0, 180.0, 300.0, 600.0)
"""Seconds after the given time of the evaluations: it may be when the cause began, and takes minutes to show."""


class Retrospective(NamedTuple):
    """Candidates with their mean scores, the likeliest first.

    observed: signals of the service are known. lasting: there were candidates in most evaluations.
    """

    candidates: tuple[Candidate, ...]
    reports_latency: bool
    lasting: bool


def retrospective(world: World, victim: Service, at: float, past: float) -> Retrospective:
    """Rank candidates around a time. at, past: Unix seconds; the World before `past` is the baseline."""
    known = _known_before(world, int(np.searchsorted(world.times, past)))
    observed, ranked, shares = 0, 0, defaultdict[Service, float](float)
    reasons: dict[Service, tuple[Reason, ...]] = {}
    points = sorted(
        {min(int(np.searchsorted(world.times, at + later)), len(world.times) - 1) for later in OFFSETS_SECONDS}
    )
    for point in points:
        scan = Scan(world, point, known.usual, utilizations=utilizations(world, point, known.laws))
        if not any(math.isfinite(scan.z(name, victim)) for name in ("p95", "failed")):
            continue
        observed += 1
        found = blame(scan, (victim,), findings(scan))
        ranked += bool(found)
        for candidate in found:
            shares[candidate.service] += candidate.score
            reasons.setdefault(candidate.service, candidate.reasons)
    total = sum(shares.values())
    candidates = [Candidate(who, share / total, reasons[who]) for who, share in shares.items()]
    order = tuple(sorted(candidates, key=lambda each: (-each.score, each.service)))
    return Retrospective(order, observed > 0, 2 * ranked > observed and ranked >= min(2, len(points)))


def _known_before(world: World, at: int) -> Learned:
    """What a hub had learned before grid point `at`, without services in trouble.

    A hub learns once a minute and leaves out the last three minutes, so one evaluation per minute is enough.
    """
    state = State()
    for point in range(at - 1, -1, -max(1, round(LEARN_SECONDS / world.step)))[::-1]:
        state = advance(state, world, point)
    return (
        state.learned if state.learned.usual.levels else Learned(baselines_at(world, at), fit_batching_laws(world, at))
    )
