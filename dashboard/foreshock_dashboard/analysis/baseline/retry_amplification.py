"""Retry amplification: the part of the load that consists of retries.

Attempts multiply along a chain of callers: with a attempts in each of L layers, the last one receives up to a^L times
the requests (Beyer et al., *Site Reliability Engineering*, 2016, chapter 22).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Edge
from foreshock_dashboard.stats.robust import nan_mean

MAX_CALLER_LAYERS = 16
"""Layers of callers followed, which ends cycles."""
WINDOW_SECONDS = 180.0
"""Averaging window of request rates, because user traffic arrives in bursts of minutes."""


@dataclass(frozen=True, slots=True)
class RequestRates:
    """Request rates per second by edge, shape (edges,); NaN where unknown.

    offered: attempts. first: calls without the client's own retries. fresh: calls without retries of any layer.
    baseline: of the offered rates.
    """

    offered: Floats
    first: Floats
    fresh: Floats
    baseline: Floats

    def retried(self, rows: Sequence[int]) -> float:
        """Retries per first attempt over some edges; NaN without calls."""
        return _over(self.offered[rows] - self.first[rows], self.first[rows])

    def real(self, rows: Sequence[int]) -> float:
        """Share of attempts on some edges that are no retry of any layer, 0 to 1; NaN without calls."""
        return _over(self.fresh[rows], self.offered[rows])

    def growth(self, rows: Sequence[int]) -> float:
        """Fresh calls over the baseline, of edges with a baseline; NaN without any."""
        known = np.isfinite(self.baseline[rows]) & np.isfinite(self.fresh[rows])
        return _over(self.fresh[rows][known], self.baseline[rows][known])


def _over(part: Floats, whole: Floats) -> float:
    total = float(np.nansum(whole))
    return float(np.nansum(part)) / total if total > 0 else float("nan")


def request_rates(point: EvaluationPoint, seconds: float = WINDOW_SECONDS) -> RequestRates:
    """Request rates of every edge, mean of the last `seconds`."""
    world = point.world
    window = slice(max(0, point.column + 1 - world.points(seconds)), point.column + 1)
    offered = nan_mean(world.calls.rate[:, window])
    with np.errstate(invalid="ignore", divide="ignore"):
        first = nan_mean(world.calls.rate[:, window] / np.fmax(world.attempts[:, window], 1.0))
        attempts = np.where(first > 0, np.fmax(offered / first, 1.0), 1.0)
    client, server, indices = edge_ends(world.edges)
    amplified = amplification(client, server, np.nan_to_num(offered), attempts, len(indices))
    return RequestRates(offered, first, first / amplified[client], point["edge_rate"].level)


def edge_ends(edges: Sequence[Edge]) -> tuple[NDArray[np.intp], NDArray[np.intp], Mapping[Service, int]]:
    """Indices of the client and the server of each edge, shape (edges,), and the index of each service."""
    indices: dict[Service, int] = {}
    ends = np.array([[indices.setdefault(end, len(indices)) for end in edge[:2]] for edge in edges], np.intp)
    client, server = ends.reshape(-1, 2).T
    return client, server, indices


def amplification(
    client: NDArray[np.intp], server: NDArray[np.intp], offered: Floats, attempts: Floats, count: int
) -> Floats:
    """Attempts at each of `count` services per request from outside, shape (count,); 1 without callers.

    `client` and `server` are service indices, shape (edges,); `offered` is in attempts per second. Solves
    m(s) = Σ offered / Σ offered/(attempts · m(client)) over the edges into s, from the outside inwards.
    """
    amplified = np.ones(count)
    total = np.bincount(server, offered, count)
    for _ in range(MAX_CALLER_LAYERS):
        fresh = np.bincount(server, offered / (attempts * amplified[client]), count)
        previous, amplified = amplified, np.divide(total, fresh, out=np.ones(count), where=fresh > 0)
        if np.allclose(amplified, previous, rtol=1e-6, atol=0):
            return previous
    return amplified
