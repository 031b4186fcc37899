"""When Python looks for cycles of garbage by itself."""

from __future__ import annotations

import gc

_THRESHOLDS = (100_000, 20, 50)


def collect_rarely() -> None:
    """Have this process look rarely: a look at the many spans that wait for their other half, or at all that a
    simulation holds, costs more than receiving or making them did.

    A hub's tick looks among what is new: HTTP clients leave each answer, whole pages of metrics, in a cycle.
    """
    gc.set_threshold(*_THRESHOLDS)
