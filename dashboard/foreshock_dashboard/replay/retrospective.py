"""The root-cause graph around a past time, at the evaluations of the minutes after it."""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.root_cause.graph_walk import GraphWalk
from foreshock_dashboard.analysis.saturation.batching_model import fit_batching_laws, utilizations
from foreshock_dashboard.model.world import World

OFFSETS_SECONDS = (0.0, 60.0, 120.0, 180.0, 300.0, 600.0)
"""Seconds after the given time of the evaluations: it may be when the cause began, and takes minutes to show."""


def retrospective(world: World, at: float, past: float) -> tuple[GraphWalk, ...]:
    """Graphs to rank root causes on, one per evaluation.

    at, past: Unix seconds; the World before `past` is the baseline.
    """
    before = int(np.searchsorted(world.times, past))
    baselines, laws = baselines_at(world, before), fit_batching_laws(world, before)
    last = len(world.times) - 1
    columns = {min(int(np.searchsorted(world.times, at + offset)), last) for offset in OFFSETS_SECONDS}
    points = [
        EvaluationPoint(world, column, baselines, utilizations=utilizations(world, column, laws))
        for column in sorted(columns)
    ]
    return tuple(GraphWalk(point, findings(point)) for point in points)
