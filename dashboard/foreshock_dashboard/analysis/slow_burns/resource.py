"""What fills up or runs out, and the time within which it is reported."""

from __future__ import annotations

import math
from typing import NamedTuple

from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world_sections import DAY_SECONDS

HORIZON_SECONDS = 7 * DAY_SECONDS
"""Time within which the limit must be reached."""


class Resource(NamedTuple):
    """What fills up or runs out. service, name, host: as in `SlowBurn`."""

    service: Service | None
    name: str
    host: str = ""


UseKey = tuple[Resource, SlowBurnKind]
"""Key of the row of a resource."""


def at_rates(end: float, key: UseKey, value: float, limit: float, rates: Floats, since: float) -> SlowBurn | None:
    """What reaches its limit within `HORIZON_SECONDS` at the median of its rates; else None.

    end: Unix seconds of `value`. rates: slowest, median, and fastest growth, units per second; the last two above 0.
    """
    slowest, growth, fastest = rates.tolist()
    left = max(0.0, limit - value)
    if left / growth > HORIZON_SECONDS:
        return None
    (service, name, host), kind = key
    return SlowBurn(
        kind=kind,
        service=service,
        name=name,
        value=value,
        limit=limit,
        growth=growth,
        slowest=slowest,
        fastest=fastest,
        at=end + left / growth,
        earliest=end + left / fastest,
        latest=end + left / slowest if slowest > 0 else math.inf,
        since=since,
        host=host,
    )
