"""Whose requests became longer: not more of them came, but each is more work.

What all callers of a service see it take longer is the service's; what one of them sees beyond that is the length of
its own requests.
"""

from __future__ import annotations

import numpy as np

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.types import Floats

OWN_GROWTH = 1.15
"""Times the rise that the callers of a service have in common, from which a caller's requests are longer themselves."""
MIN_Z = 2.0
"""Scales by which its requests are slower, below which that is chance."""


def request_size_growth(scan: Scan) -> Floats:
    """Calls per second as many as would make as much work as what an edge's own became longer by, shape (edges,)."""
    now, edges = scan["edge_server"], scan.world.edges
    places = {server: i for i, server in enumerate(dict.fromkeys(edge.server for edge in edges))}
    server = np.array([places[edge.server] for edge in edges], np.intp)
    common = np.full(len(places), np.inf)
    np.fmin.at(common, server, now.ratio)
    with np.errstate(invalid="ignore"):
        own = now.ratio / np.maximum(common[server], 1.0)
        shown = (own >= OWN_GROWTH) & (now.z >= MIN_Z)
    return np.where(shown, np.nan_to_num(scan["edge_rate"].value) * (own - 1), 0.0)
