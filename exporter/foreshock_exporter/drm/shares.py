"""Samples of how busy a GPU is, and their division among processes. Pure; shares are 0 to 1, times are seconds."""

from __future__ import annotations

import math
from collections.abc import Mapping

MAX_STEP_SECONDS = 1.0
"""Longest time that one sample stands for; a longer one would count as idle (see `gpu.driver_samples`)."""
MAX_SPAN_SECONDS = 6.0
"""Longest time between two samples, above the longest sampling period. After a longer one, nothing is known of it."""


def sample_times(before: float | None, now: float) -> list[float]:
    """Times of samples with the ratio read at `now`, which stands for the time since the previous reading."""
    if before is None or not 0.0 < now - before <= MAX_SPAN_SECONDS:
        return [now]
    steps = math.ceil((now - before) / MAX_STEP_SECONDS)
    return [now - (now - before) * (steps - step) / steps for step in range(1, steps + 1)]


def busy_shares(
    busy: float | None, measured: Mapping[int, float], compute_units: Mapping[int, float]
) -> dict[int, float]:
    """Share of the GPU's time by PID, of processes with some.

    The kernel counts the time of DRM clients, but not that of ROCm's processes. The rest of the busy time is divided
    among them by the compute units that their waves occupy at the moment of the sample. Their kernels can run at the
    same time, so this divides the time; it is no duration.

    Args:
        busy: busy ratio of the GPU; None if unknown, as then is the rest.
        measured: shares of processes of which the kernel counts the time.
        compute_units: occupied compute units of processes of ROCm.
    """
    shares = {pid: share for pid, share in measured.items() if share > 0.0}
    units = sum(compute_units.values())
    rest = max(0.0, busy - sum(shares.values())) if busy is not None else 0.0
    if units > 0.0 and rest > 0.0:
        for pid, own in compute_units.items():
            if own > 0.0:
                shares[pid] = min(1.0, shares.get(pid, 0.0) + rest * own / units)
    return shares
