"""Certificates that expire within days and were not renewed in time."""

from __future__ import annotations

import math

import numpy as np

from foreshock_dashboard.analysis.capacity.seasonal import HOUR_POINTS
from foreshock_dashboard.analysis.slow_burns.resource import HORIZON_SECONDS, UseKey
from foreshock_dashboard.model.capacity.load import FORECAST_STEP_SECONDS
from foreshock_dashboard.model.capacity.slow_burn import SlowBurn
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS

RENEWAL_SECONDS = 3600.0
"""Time by which a renewed certificate expires later, and by which a renewal that is due may be late."""
EXPIRED_SECONDS = 7 * DAY_SECONDS
"""Time after its end for which a certificate is reported. One that is in use is missed by then."""


def expiring_certificate(end: float, key: UseKey, left: Floats) -> SlowBurn | None:
    """A certificate that expires within a week, or did in the last one; None for one that is renewed on its own.

    Certificates may live for a day, or six. One that was replaced in the known history is reported only if less time is
    left than at any of its renewals.

    end: Unix seconds at which the rows end. left: seconds until it expires, in steps of `FORECAST_STEP_SECONDS`.
    """
    known = np.flatnonzero(np.isfinite(left))
    if not len(known) or len(left) - int(known[-1]) > HOUR_POINTS:
        return None
    times = end - (len(left) - 1.0 - known) * FORECAST_STEP_SECONDS
    expiry = left[known] + times
    at, now = float(expiry[-1]), float(expiry[-1]) - end
    if not -EXPIRED_SECONDS <= now <= HORIZON_SECONDS:
        return None
    # Two servers behind one address may have different certificates: a renewal is for good.
    earliest_after = np.minimum.accumulate(expiry[::-1])[::-1][1:]
    renewed = np.flatnonzero(earliest_after > np.maximum.accumulate(expiry)[:-1] + RENEWAL_SECONDS)
    if len(renewed) and now > left[known][renewed].min() - RENEWAL_SECONDS:
        return None
    (service, name, _), kind = key
    return SlowBurn(
        kind=kind,
        service=service,
        name=name,
        value=now,
        limit=0.0,
        growth=-1.0,
        slowest=-1.0,
        fastest=-1.0,
        at=at,
        earliest=at,
        latest=at,
        since=math.nan,
    )
