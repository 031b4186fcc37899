"""What fills up or runs out, and the time within which it is reported."""

from __future__ import annotations

from typing import NamedTuple

from foreshock_dashboard.model.capacity.slow_burn import SlowBurnKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world_sections import DAY_SECONDS

HORIZON_SECONDS = 7 * DAY_SECONDS
"""Time within which the limit must be reached."""


class Resource(NamedTuple):
    """What fills up or runs out. service, name: as in `SlowBurn`."""

    service: Service | None
    name: str


UseKey = tuple[Resource, SlowBurnKind]
"""Key of the row of a resource."""
