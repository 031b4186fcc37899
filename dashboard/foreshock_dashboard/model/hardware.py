"""What GPUs tell of their health; rows are the World's GPUs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Hardware:
    """Arrays of shape (gpus, times), NaN where there is no sample.

    clock: SM clock as a share 0…1 of the highest. throttled: share 0…1 of time held back by power or temperature.
    errors: XID and uncorrected memory errors per second. lost: 1 while the driver no longer answers for it.
    """

    clock: Floats = field(repr=False)
    throttled: Floats = field(repr=False)
    errors: Floats = field(repr=False)
    lost: Floats = field(repr=False)

    @classmethod
    def empty(cls, gpus: int, points: int) -> Hardware:
        """Nobody tells how they are."""
        nothing = np.full((gpus, points), np.nan)
        return cls(nothing, nothing, nothing, nothing)
