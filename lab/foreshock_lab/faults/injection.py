"""Kinds of faults, and how the amount of one grows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from foreshock_lab.faults.target import System

Place = Literal["called", "caller", "network", "users", "postgres", "valkey"]
"""Where a kind can happen: a service that others call, one that calls others, the network before a called service, the
front where users come in, a service that queries PostgreSQL, one that uses Valkey."""


class Injection(Protocol):
    """A fault in a running system."""

    def set(self, amount: float) -> None:
        """Make the fault this strong, in the unit of its kind. A growing fault is set every few seconds."""

    def clear(self) -> None:
        """End the fault and restore what it changed."""


Inject = Callable[[System, str], Injection]
"""Makes a fault in a system, at the service of that name."""


@dataclass(frozen=True, slots=True)
class FaultKind:
    """A kind of fault or look-alike.

    cause: its cause class, "" if none fits. amounts: of the three strengths, in `unit`. place: where it can happen.
    inject: makes it. done: what is done, for the README. begin: amount from which it grows. develops_seconds: time
    until its full amount, 0 for at once. holds_seconds: time at its full amount. root_cause: the store that is at
    fault, where it is not the service. lookalike: users see nothing, and no page may be sent. unavailable: why it
    cannot be run here, "" if it can.
    """

    name: str
    cause: str
    unit: str
    amounts: tuple[float, float, float]
    place: Place
    inject: Inject
    done: str
    begin: float = 0.0
    develops_seconds: float = 0.0
    holds_seconds: float = 120.0
    root_cause: str = ""
    lookalike: bool = False
    unavailable: Callable[[], str] = lambda: ""

    @property
    def duration(self) -> float:
        """Seconds from its onset to its end."""
        return self.develops_seconds + self.holds_seconds

    def amount_at(self, strength: int, seconds: float) -> float:
        """Amount of a strength (1 to 3), some seconds after the onset.

        It grows with the square of time, slowly at first, so that there is something to see before users do.
        """
        full = self.amounts[strength - 1]
        progress = min(1.0, seconds / self.develops_seconds) if self.develops_seconds else 1.0
        return self.begin + (full - self.begin) * progress**2
