"""Per-service options of the hub, and those for services that were never seen: their names may be misspelled."""

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

WARN_AFTER_SECONDS = 1800.0
"""Seconds with data of any service before the log names unmatched services: not all services appear at once."""
_MIN_SIMILARITY = 0.7
"""Ratio of `difflib` from which another service's name counts as a likely spelling."""


@dataclass(frozen=True, slots=True)
class Unmatched(Generic[Value]):
    """An option's value for a service that was never seen, and the service that is probably meant, if any."""

    service: Service
    value: Value
    nearest: Service | None = None


class ServiceOverrides(Generic[Value]):
    """The values of one per-service option, such as `--tiers`. One thread calls `observe`; others may read `unmatched`.

    unmatched: the values for services that no World has contained so far.
    """

    def __init__(self, flag: str, values: Mapping[Service, Value]) -> None:
        self.flag = flag
        self.values = values
        self.unmatched = tuple(Unmatched(service, value) for service, value in values.items())
        self._services: tuple[Service, ...] = ()
        self._warned = False

    def observe(self, world: World) -> None:
        """Match the values with the World's services; after `WARN_AFTER_SECONDS` of data, log the unmatched once."""
        if not self.unmatched:
            return
        if world.services != self._services:
            self._services = world.services
            present = frozenset(name for service in world.services for name in (service, service.local))
            self.unmatched = tuple(
                replace(item, nearest=closest_service(item.service, world.services))
                for item in self.unmatched
                if item.service not in present
            )
        if self._warned or _seconds_with_data(world) < WARN_AFTER_SECONDS:
            return
        self._warned = True
        for item in self.unmatched:
            hint = f"did you mean {item.nearest}?" if item.nearest else "check its spelling"
            log.warning("%s %s: no service of this name has been seen; %s", self.flag, item.service, hint)


def closest_service(service: Service, services: Iterable[Service]) -> Service | None:
    """The service that an unknown name probably means.

    Services with the same name in another namespace come first, then similar spellings. None without either.
    """
    by_text = {str(other): other for other in sorted(services)}
    same_name = [text for text, other in by_text.items() if other.name == service.name]
    matches = get_close_matches(str(service), same_name or list(by_text), 1, 0.0 if same_name else _MIN_SIMILARITY)
    return by_text[matches[0]] if matches else None


def _seconds_with_data(world: World) -> float:
    """Seconds of the World in which any service reports requests or GPU time."""
    reported = [~np.isnan(rows).all(axis=0) for rows in (world.red.rate, world.busy) if len(rows)]
    return float(np.logical_or.reduce(reported).sum()) * world.step if reported else 0.0
