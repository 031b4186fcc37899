"""The scraped targets: which are up, and since when they have been silent."""

from __future__ import annotations

from collections.abc import Mapping, Set

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.query import Matrix
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Target
from foreshock_dashboard.world.row_alignment import Alignment, Numbers

Flags = NDArray[np.bool_]
Address = tuple[str, str]
"""(job, instance)."""


def target_of(labels: Mapping[str, str]) -> Address:
    """The scraped target."""
    return labels.get("job", ""), labels.get("instance", "")


class Targets:
    """Remembers of every target when it was last scraped, and whether it was up then."""

    def __init__(self) -> None:
        self._numbers: dict[Address, int] = {}
        self._aligned = Alignment(lambda labels: (self.number_of(dict(labels)),), 1)
        self._seen: Floats = np.empty(0)
        self._up: Floats = np.empty(0)
        self._now: Flags = np.empty((0, 0), bool)

    def number_of(self, labels: Mapping[str, str]) -> int:
        """The number of the target that a series is from."""
        return self._numbers.setdefault(target_of(labels), len(self._numbers))

    def meet(self, up: Matrix) -> None:
        """Take note of who was up at the times of `up`."""
        self._aligned.follow(up.labels)
        numbers = self._aligned.numbers[:, 0]
        more = len(self._numbers) - len(self._seen)
        self._seen = np.concatenate([self._seen, np.full(more, -np.inf)])
        self._up = np.concatenate([self._up, np.full(more, np.nan)])
        self._now = np.repeat(self._seen[:, None] == -np.inf, len(up.times), axis=1)
        self._now[numbers] = up.values > 0
        told = ~np.isnan(up.values)
        there = told.any(axis=1)
        newest = len(up.times) - 1 - told[there, ::-1].argmax(axis=1)
        self._seen[numbers[there]] = up.times[newest]
        self._up[numbers[there]] = up.values[there, newest]

    def alive(self, numbers: Numbers) -> Flags:
        """Whether targets were up, shape (targets, times). Those of which nobody ever said so count as up."""
        more = len(self._numbers) - len(self._now)
        now = np.concatenate([self._now, np.ones((more, self._now.shape[1]), bool)]) if more else self._now
        return now[numbers]

    def listed(self, ours: Set[Address], since: float, now: float) -> tuple[Target, ...]:
        """The targets that give what is shown here; a fleet's Prometheus has many others."""
        return tuple(
            Target(instance, job, bool(self._up[number] > 0), now - float(self._seen[number]))
            for (job, instance), number in sorted(self._numbers.items(), key=lambda item: item[0][::-1])
            if ((job, instance) in ours or job.startswith("foreshock")) and self._known(number, since)
        )

    def _known(self, number: int, since: float) -> bool:
        return number < len(self._seen) and self._seen[number] >= since
