"""GPU health; rows are the GPUs of the World."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from foreshock_dashboard.model.types import Floats


@dataclass(frozen=True, slots=True)
class Hardware:
    """Arrays of shape (gpus, times); NaN is no sample.

    clock: SM clock as a share, 0 to 1, of the maximum. throttled: share of time, 0 to 1, throttled by power or heat.
    errors: XID and uncorrected memory errors per second. lost: 1 while the driver does not answer for the GPU.
    """

    clock: Floats = field(repr=False)
    throttled: Floats = field(repr=False)
    errors: Floats = field(repr=False)
    lost: Floats = field(repr=False)

    @classmethod
    def empty(cls, gpus: int, points: int) -> Hardware:
        """Nothing is known of GPU health."""
        nothing = np.full((gpus, points), np.nan)
        return cls(nothing, nothing, nothing, nothing)
