"""What is out of the ordinary in metrics that nobody has told us the meaning of, and whose they are.

The score of a series is by how much it leaves its usual level: (x - median) / max(IQR, floor), as BARO's RobustScorer
(Pham et al., FSE 2024), which costs nothing and, where a fault does not spread, does as well as far more elaborate
methods. The floor keeps constant and heavy-tailed series from winning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.root_cause.series_owner import owner, replica
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

LEAST = 5
"""Points that a baseline needs at least."""
LEVEL_FLOOR = 0.05
"""Least scale as a share of the level: a change of a few percent of anything is not remarkable."""
PEAK_FLOOR = 0.02
"""Least scale as a share of the largest value: a series that was always 0 can score 50 and no more."""
TAIL = 1.5
"""Scales that the 99 % excursion of the past is worth at most: what happens now and then is nothing new."""
FALLEN = 0.5
"""How much a fall counts against a rise: what breaks makes others idle, and a level cannot fall below nothing."""
ODD = 3.0
"""Score from which a series is out of the ordinary: twice as far out as 99 % of its past, or further."""
HOLDS = 60.0
"""Seconds that a series must stay out to be odd: what happens once a day for a moment has no past either."""
EXACT = 1e-9
"""A counter's growth that is less than this, or this share of what it has reached, is rounding."""
COUNTERS = ("_total", "_count", "_sum", "_bucket")


@dataclass(frozen=True, slots=True)
class Around:
    """A stretch of time around an instant: grid points before `first` are the past, those from there on are judged."""

    times: Floats
    first: int


class Oddity(NamedTuple):
    """A series that is out of the ordinary. score in scales; since in Unix seconds; usual and now in its own unit."""

    service: Service
    metric: str
    score: float
    since: float
    usual: float
    now: float


def oddities(metric: str, found: Matrix, around: Around, counter: bool | None = None) -> tuple[Oddity, ...]:
    """The most remarkable series of each service among those of one metric, whether or not it is remarkable.

    counter: whether it only counts up; told by its name and its past where it is not given.
    """
    if not len(found):
        return ()
    values = found.values
    events = False
    if is_counter(metric, values[:, : around.first]) if counter is None else counter:
        values = _begun(found.labels, increases(values), around.first)
        events = bool((np.nan_to_num(values) % 1 == 0).all())
    step = float(around.times[1] - around.times[0])
    scores, first, level, now = excess(values, around.first, max(1, round(HOLDS / step)), events=events)
    best: dict[Service, Oddity] = {}
    for row, labels in enumerate(map(dict, found.labels)):
        if np.isnan(scores[row]):
            continue
        who = owner(metric, labels)
        if who not in best or scores[row] > best[who].score:
            since = float(around.times[first[row]])
            best[who] = Oddity(who, metric, float(scores[row]), since, float(level[row]), float(now[row]))
    return tuple(best[who] for who in sorted(best))


def is_counter(metric: str, past: Floats) -> bool:
    """Whether a metric only counts up: by its name, or because in the past it did little else."""
    if metric.endswith(COUNTERS):
        return True
    steps = np.diff(past, axis=1)
    steps = steps[np.isfinite(steps)]
    return steps.size >= LEAST and float((steps > 0).mean()) >= 0.5 and float((steps < 0).mean()) <= 0.01


def increases(values: Floats) -> Floats:
    """What a counter grew by from point to point; after a reset, what it has reached. Shape as given; NaN at first."""
    steps = np.full_like(values, np.nan)
    steps[:, 1:] = np.diff(values, axis=1)
    steps[np.abs(steps) < EXACT * (1.0 + np.abs(values))] = 0.0
    return np.where(steps < 0, values, steps)


def _begun(labels: tuple[Labels, ...], values: Floats, first: int) -> Floats:
    """Counters that begin late were 0 before, where that copy of the service was known: nothing had happened yet."""
    copies = [replica(dict(each)) for each in labels]
    known = np.isfinite(values[:, :first]).sum(axis=1) >= LEAST
    alive = {copy for copy, is_known in zip(copies, known, strict=True) if is_known}
    begun = np.array([copy in alive for copy in copies]) & ~known
    if begun.any():
        values = values.copy()
        values[begun] = np.nan_to_num(values[begun])
    return values


def means(total: Matrix, count: Matrix) -> Matrix:
    """The mean of what a histogram or summary saw from point to point, from its sum and its count."""
    rows = {labels: row for row, labels in enumerate(count.labels)}
    found: dict[Labels, Floats] = {}
    sums, counts = increases(total.values), increases(count.values)
    for labels, grown in zip(total.labels, sums, strict=True):
        if (row := rows.get(labels)) is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                found[labels] = np.where(counts[row] > 0, grown / counts[row], np.nan)
    return Matrix.of(total.times, found)


def excess(
    values: Floats, first: int, holds: int = 1, *, events: bool = False
) -> tuple[Floats, NDArray[np.int64], Floats, Floats]:
    """How far each row leaves its past from point `first` on, for `holds` points in a row at least.

    Score, at which point first, usual level, and how far; shapes (rows,). NaN where there are fewer than `LEAST` points
    of past, or none after. `events`: the values count something, which by chance varies by the root of its number.
    """
    smooth = smoothed(values)
    past, after = smooth[:, :first], smooth[:, first:]
    rows = len(values)
    score, level, reached = np.full(rows, np.nan), np.full(rows, np.nan), np.full(rows, np.nan)
    begin = np.full(rows, first, np.int64)
    known = (np.isfinite(past).sum(axis=1) >= LEAST) & np.isfinite(after).any(axis=1)
    if not known.any():
        return score, begin, level, reached
    past, after = past[known], after[known]
    low, quarter, middle, three, high = np.nanquantile(past, (0.01, 0.25, 0.5, 0.75, 0.99), axis=1)
    peak = np.maximum(np.nanmax(np.abs(past), axis=1), np.nanmax(np.abs(after), axis=1))
    floor = np.maximum(np.maximum(LEVEL_FLOOR * np.abs(middle), PEAK_FLOOR * peak), np.finfo(float).tiny)
    if events:
        floor = np.maximum(floor, np.sqrt(middle + 1.0))
    scale = np.maximum(three - quarter, floor)
    up = (after - middle[:, None]) / np.maximum(scale, (high - middle) / TAIL)[:, None]
    down = FALLEN * (middle[:, None] - after) / np.maximum(scale, (middle - low) / TAIL)[:, None]
    strength = np.fmax(held(up, holds), held(down, holds))
    most = np.nanmax(strength, axis=1)
    at = np.nanargmax(strength, axis=1)
    odd = np.nan_to_num(strength, nan=-np.inf) >= np.maximum(ODD, most / 4)[:, None]
    score[known], level[known] = np.maximum(most, 0.0), middle
    reached[known] = after[np.arange(len(after)), at]
    begin[known] = first + np.where(odd.any(axis=1), odd.argmax(axis=1), at)
    return score, begin, level, reached


def held(values: Floats, points: int) -> Floats:
    """The least of each point and the `points` - 1 after it, as far as there are any; missing ones are left aside."""
    least = values.copy()
    for ahead in range(1, min(points, values.shape[1])):
        later = np.full_like(values, np.nan)
        later[:, : values.shape[1] - ahead] = values[:, ahead:]
        least = np.where(np.isnan(later), least, np.minimum(least, later))
    return least


def smoothed(values: Floats) -> Floats:
    """Each point as the median of itself and the two before; one that is missing counts as the point itself."""
    before, earlier = values.copy(), values.copy()
    before[:, 1:] = np.where(np.isnan(values[:, :-1]), values[:, 1:], values[:, :-1])
    earlier[:, 2:] = np.where(np.isnan(values[:, :-2]), values[:, 2:], values[:, :-2])
    low, high = np.minimum(values, before), np.maximum(values, before)
    return np.maximum(low, np.minimum(high, earlier))
