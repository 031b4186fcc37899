"""Scrape targets: which are up, and the age of their last scrape."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.common.series_index import IntArray, SeriesIndex
from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Target

BoolArray = NDArray[np.bool_]
Address = tuple[str, str]
"""(job, instance)."""
OWN_JOB_PREFIX = "foreshock"
"""Prefix of the jobs that scrape Foreshock itself."""


def target_of(labels: Mapping[str, str]) -> Address:
    """Scrape target of a series."""
    return labels.get("job", ""), labels.get("instance", "")


class Targets:
    """Last scrape of every target, and whether it was up."""

    def __init__(self) -> None:
        self._numbers: dict[Address, int] = {}
        self._index = SeriesIndex(lambda labels: (self.intern(dict(labels)),), 1)
        self._last_sample: Floats = np.empty(0)
        self._up: Floats = np.empty(0)
        self._now: BoolArray = np.empty((0, 0), bool)

    def intern(self, labels: Mapping[str, str]) -> int:
        """Number of the target of a series; a new target gets the next one."""
        return self._numbers.setdefault(target_of(labels), len(self._numbers))

    def update(self, up: Matrix) -> None:
        """Add the samples of `up`."""
        self._index.update(up.labels)
        numbers = self._index.numbers[:, 0]
        more = len(self._numbers) - len(self._last_sample)
        self._last_sample = np.concatenate([self._last_sample, np.full(more, -np.inf)])
        self._up = np.concatenate([self._up, np.full(more, np.nan)])
        self._now = np.repeat(self._last_sample[:, None] == -np.inf, len(up.times), axis=1)
        self._now[numbers] = up.values > 0
        known = ~np.isnan(up.values)
        present = known.any(axis=1)
        newest = len(up.times) - 1 - known[present, ::-1].argmax(axis=1)
        self._last_sample[numbers[present]] = up.times[newest]
        self._up[numbers[present]] = up.values[present, newest]

    def is_up(self, numbers: IntArray) -> BoolArray:
        """Whether targets were up, shape (targets, times). A target without `up` samples counts as up."""
        more = len(self._numbers) - len(self._now)
        now = np.concatenate([self._now, np.ones((more, self._now.shape[1]), bool)]) if more else self._now
        return now[numbers]

    def fresh_targets(self, known: Set[Address], since: float, now: float) -> tuple[Target, ...]:
        """Targets with an `up` sample at `since` or later, by instance and job; ages as of `now` (Unix seconds).

        Only those in `known`, because the Prometheus of a fleet scrapes many others, and jobs that start with
        `OWN_JOB_PREFIX`, always.
        """
        return tuple(
            Target(instance, job, bool(self._up[number] > 0), now - float(self._last_sample[number]))
            for (job, instance), number in sorted(self._numbers.items(), key=lambda item: item[0][::-1])
            if ((job, instance) in known or job.startswith(OWN_JOB_PREFIX)) and self._is_fresh(number, since)
        )

    def _is_fresh(self, number: int, since: float) -> bool:
        return number < len(self._last_sample) and self._last_sample[number] >= since
