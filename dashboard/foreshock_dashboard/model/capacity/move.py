"""A service that moves to another GPU pool, in part or as a whole."""

from __future__ import annotations

import math
from typing import NamedTuple

from foreshock_dashboard.model.service import Service


class Move(NamedTuple):
    """Replicas of a service that move to a pool; infinite for all that are ready."""

    service: Service
    pool: str
    replicas: float = math.inf
