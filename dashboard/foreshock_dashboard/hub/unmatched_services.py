"""What the hub is given for services by name, and those names that nobody has had so far: one may be misspelt."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Generic, TypeVar

import numpy as np

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

log = logging.getLogger(__name__)

Value = TypeVar("Value")

ENOUGH = 1800.0
"""Seconds for which some service is told of until the log names those that were not seen: all need not come at once."""


@dataclass(frozen=True, slots=True)
class Vain(Generic[Value]):
    """A service that was never seen, what is given for it, and who may be meant, if anybody is called like it."""

    service: Service
    value: Value
    nearest: Service | None = None


class Named(Generic[Value]):
    """What an option gives for services. Met by one thread; `vain` may be read by others.

    flag: the option. given: values by service. vain: those of services that no World has had so far.
    """

    def __init__(self, flag: str, given: Mapping[Service, Value]) -> None:
        self.flag = flag
        self.given = given
        self.vain = tuple(Vain(service, value) for service, value in given.items())
        self._there: tuple[Service, ...] = ()
        self._said = False

    def meet(self, world: World) -> None:
        """Take note of the services that there are; once there was time enough to see them, log once who was not."""
        if not self.vain:
            return
        if world.services != self._there:
            self._there = world.services
            there = frozenset(world.services)
            left = [each for each in self.vain if each.service not in there]
            self.vain = tuple(replace(each, nearest=nearest(each.service, world.services)) for each in left)
        if self._said or _heard(world) < ENOUGH:
            return
        self._said = True
        for each in self.vain:
            asked = f"is {each.nearest} meant" if each.nearest else "is it misspelt"
            log.warning("%s %s: no service of this name has been seen so far; %s?", self.flag, each.service, asked)


def nearest(service: Service, there: Iterable[Service]) -> Service | None:
    """Who may be meant by a name that nobody has: one of the same name elsewhere, or who is spelt much like it."""
    by_name = {str(other): other for other in sorted(there)}
    alike = [other for other in by_name.values() if other.name == service.name]
    found = get_close_matches(str(service), [str(other) for other in alike] or list(by_name), 1, 0.0 if alike else 0.7)
    return by_name[found[0]] if found else None


def _heard(world: World) -> float:
    """Seconds of the World at which any service is told of."""
    told = [~np.isnan(rows).all(axis=0) for rows in (world.red.rate, world.busy) if len(rows)]
    return float(np.logical_or.reduce(told).sum()) * world.step if told else 0.0
