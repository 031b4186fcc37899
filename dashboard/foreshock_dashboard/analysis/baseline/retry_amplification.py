"""How much of the load is only there because calls are made again.

Attempts multiply along a chain of callers: with a attempts in each of L layers the last one sees up to a^L times the
requests (Beyer et al., *Site Reliability Engineering*, 2016, chapter 22). Divided by it, a rate is what is really
asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline.point import Scan
from foreshock_dashboard.model.types import Floats

ROUNDS = 16
"""Layers of callers that are followed; in a cycle it ends there."""
MINUTES = 180.0
"""Seconds whose mean stands for what is asked: arrivals of people come in bursts of minutes."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Per edge of the World, shape (edges,); NaN where nothing is known of its calls.

    offered: attempts per second. first: calls per second, without the client's own retries. fresh: calls per second
    without the retries of anybody on the way there. usual: attempts per second as they usually are.
    """

    offered: Floats
    first: Floats
    fresh: Floats
    usual: Floats

    def retried(self, rows: Sequence[int]) -> float:
        """Retries per first attempt over some edges; NaN without calls."""
        return _over(self.offered[rows] - self.first[rows], self.first[rows])

    def real(self, rows: Sequence[int]) -> float:
        """The share of all attempts on some edges that is no retry of anybody, 0…1; NaN without calls."""
        return _over(self.fresh[rows], self.offered[rows])

    def growth(self, rows: Sequence[int]) -> float:
        """Fresh calls over usual ones, of those edges that have a baseline; NaN where none has."""
        known = np.isfinite(self.usual[rows]) & np.isfinite(self.fresh[rows])
        return _over(self.fresh[rows][known], self.usual[rows][known])


def _over(part: Floats, whole: Floats) -> float:
    total = float(np.nansum(whole))
    return float(np.nansum(part)) / total if total > 0 else float("nan")


def asked(scan: Scan, seconds: float = MINUTES) -> Asked:
    """What every edge is asked, mean of the last `seconds`."""
    world = scan.world
    window = slice(max(0, scan.at + 1 - max(1, round(seconds / world.step))), scan.at + 1)
    offered = mean(world.calls.rate[:, window])
    with np.errstate(invalid="ignore", divide="ignore"):
        first = mean(world.calls.rate[:, window] / np.fmax(world.attempts[:, window], 1.0))
        attempts = np.where(first > 0, np.fmax(offered / first, 1.0), 1.0)
    places = {service: i for i, service in enumerate(dict.fromkeys(each for edge in world.edges for each in edge[:2]))}
    client = np.array([places[edge.client] for edge in world.edges], np.intp)
    server = np.array([places[edge.server] for edge in world.edges], np.intp)
    amplified = amplification(client, server, np.nan_to_num(offered), attempts, len(places))
    return Asked(offered, first, first / amplified[client], scan["edge_rate"].level)


def mean(values: Floats) -> Floats:
    """The mean over time of each row, NaN where nothing is known."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Floats = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    return found


def amplification(
    client: NDArray[np.intp], server: NDArray[np.intp], offered: Floats, attempts: Floats, count: int
) -> Floats:
    """Attempts that reach each of `count` services per request from outside, shape (count,); 1 where nobody calls.

    client, server: indices of services, shape (edges,); offered in attempts per second. Solves
    m(s) = Σ offered / Σ offered/(attempts · m(client)) over the edges into s, from the outside inwards.
    """
    found = np.ones(count)
    total = np.bincount(server, offered, count)
    for _ in range(ROUNDS):
        real = np.bincount(server, offered / (attempts * found[client]), count)
        now = np.divide(total, real, out=np.ones(count), where=real > 0)
        if np.allclose(now, found, rtol=1e-6, atol=0):
            break
        found = now
    return found
