"""A recording of which some scrapes never arrived."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording, SeriesRows

Ints = NDArray[np.int64]

SHARE = 0.10
"""Share of scrapes that are lost, beside the 1 % that recordings already lack, and skewed by up to 2 s as they are."""


class LossyMetrics(RecordedMetrics):
    """Answers as if a share of all scrapes were missing, whole scrapes of a target each; the same for the same seed."""

    def __init__(self, recording: Recording, seed: int, share: float = SHARE) -> None:
        super().__init__(recording)
        self._seed, self._share = seed, share

    def _read(self, metric: str, chosen: Sequence[SeriesRows], after: int, until: int) -> tuple[Ints, Ints, Floats]:
        at, times, values = super()._read(metric, chosen, after, until)
        targets = np.array([self._target(stretch) for stretch in chosen], np.uint64)
        kept = chance(targets[at] ^ times.astype(np.uint64)) >= self._share
        return at[kept], times[kept], values[kept]

    def _target(self, stretch: SeriesRows) -> int:
        labels = dict(stretch.labels)
        name = f"{self._seed} {labels.get('job', '')} {labels.get('instance', '')}"
        return zlib.crc32(name.encode()) << 32


def chance(keys: NDArray[np.uint64]) -> Floats:
    """A number in [0, 1) for each key, as if drawn at random: the finalizer of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = keys + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
