"""The tiers that the hub is given, and those of them that are for nobody so far: a name may be misspelt."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

log = logging.getLogger(__name__)

ENOUGH = 1800.0
"""Seconds for which some service is told of until the log names those that were not seen: all need not come at once."""


class Tiers:
    """What `--tiers` says. Met by one thread; `vain` may be read by others.

    given: tiers by service. vain: those of services that no World has had so far.
    """

    def __init__(self, given: Mapping[Service, str]) -> None:
        self.given = given
        self.vain = given
        self._said = False

    def meet(self, world: World) -> None:
        """Take note of the services that there are; once there was time enough to see them, log once who was not."""
        if not self.vain:
            return
        there = frozenset(world.services)
        self.vain = {service: tier for service, tier in self.vain.items() if service not in there}
        if self._said or _heard(world) < ENOUGH:
            return
        self._said = True
        for service, tier in self.vain.items():
            log.warning("--tiers %s=%s: no service of this name has been seen so far; is it misspelt?", service, tier)


def _heard(world: World) -> float:
    """Seconds of the World at which any service is told of."""
    told = [~np.isnan(rows).all(axis=0) for rows in (world.red.rate, world.busy) if len(rows)]
    return float(np.logical_or.reduce(told).sum()) * world.step if told else 0.0
