"""Growth of request size: not more requests, but more work per request.

A slowdown that all callers of a service see is the service's. What one caller sees beyond that is due to its own
requests.
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.types import Floats

OWN_GROWTH = 1.15
"""Slowdown of one caller over that common to all, from which its requests are larger."""
MIN_Z = 2.0
"""Scales above the baseline below which a slowdown is noise."""


def request_size_growth(point: EvaluationPoint) -> Floats:
    """Extra load per edge from larger requests, as equivalent calls per second; shape (edges,)."""
    now, edges = point["edge_server"], point.world.edges
    places = {server: i for i, server in enumerate(dict.fromkeys(edge.server for edge in edges))}
    server = np.array([places[edge.server] for edge in edges], np.intp)
    common = np.full(len(places), np.inf)
    np.fmin.at(common, server, now.ratio)
    with np.errstate(invalid="ignore"):
        own = now.ratio / np.maximum(common[server], 1.0)
        shown = (own >= OWN_GROWTH) & (now.z >= MIN_Z)
    return np.where(shown, np.nan_to_num(point["edge_rate"].value) * (own - 1), 0.0)
