"""A what-if case of the capacity forecast, from the parameters of a page or of the API."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

from foreshock_dashboard.analysis.capacity.host_loss import replicas_on
from foreshock_dashboard.analysis.capacity.move import ImpossibleMoveError
from foreshock_dashboard.analysis.capacity.what_if import what_if
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.capacity.load import Subject
from foreshock_dashboard.model.capacity.move import Move
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render.capacity_text import case_text
from foreshock_dashboard.web.state.parameters import BadParameterError, service_named


class WhatIf(NamedTuple):
    """A case to look at: all traffic times a factor, and a host that is lost ("" for none) or a model that moves."""

    traffic: float = 1.0
    lost: str = ""
    move: Move | None = None

    @classmethod
    def of(
        cls,
        forecast: CapacityForecast,
        world: World | None,
        traffic: float,
        lost: str,
        move: str,
        replicas: float,
        to: str,
    ) -> WhatIf:
        """The case with these parameters. move, to: names of the service and its new pool; "" for none.

        Raises:
            BadParameterError: a name is unknown or missing, or the parameters do not go together.
        """
        if lost and lost not in {gpu.host for gpu in (world.gpus if world else ())}:
            raise BadParameterError(f"lost={lost!r}: unknown host. Name one of /api/gpus")
        if not move and not to:
            if math.isfinite(replicas):
                raise BadParameterError(f"replicas={replicas:g}: no service moves. Pass move and move_to as well")
            return cls(traffic, lost)
        if lost:
            raise BadParameterError("lost, move: the hosts of moved replicas are unknown. Pass one of them")
        ready = {load.subject.service: load.ready for load in forecast.loads if load.subject.service}
        pools = sorted({load.subject.pool for load in forecast.loads} - {""})
        try:
            service = service_named(move, ready) if move else None
        except ValueError as error:
            raise BadParameterError(f"move={move!r}: {error}") from None
        if service not in ready:
            raise BadParameterError(f"move={move!r}: no forecast for this service. Name one of /api/forecast")
        if to not in pools:
            raise BadParameterError(f"move_to={to!r}: unknown pool. Pools: {', '.join(pools) or 'none'}")
        return cls(traffic, lost, Move(service, to, math.inf if replicas >= ready[service] else replicas))

    @property
    def text(self) -> str:
        """The case in words; "" for the forecast itself."""
        return case_text(self.traffic, self.lost, self.move)

    def applied(self, forecast: CapacityForecast, world: World | None) -> CapacityForecast:
        """The forecast in this case. Raises BadParameterError where the move is impossible."""
        if self == NOTHING:
            return forecast
        lost = replicas_on(world, forecast, self.lost) if world and self.lost else {}
        try:
            return _changed(forecast, self.traffic, frozenset(lost.items()), self.move)
        except ImpossibleMoveError as error:
            raise BadParameterError(f"move: {error}") from None


NOTHING = WhatIf()


@lru_cache(1)
def _changed(
    forecast: CapacityForecast, traffic: float, lost: frozenset[tuple[Subject, float]], move: Move | None
) -> CapacityForecast:
    """The forecast in a case, kept for the chart and the next poll of the same page."""
    return what_if(forecast, traffic, dict(lost), move)
