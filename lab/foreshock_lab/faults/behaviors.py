"""Faults inside the code of a service: real sleeps, errors, and allocations, switched on from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from foreshock_lab.faults.injection import Inject
from foreshock_lab.faults.placement import call_rates, most_called
from foreshock_lab.faults.target import System

Behavior = Callable[[float], Mapping[str, Any]]
"""Behavior of a service for an amount."""


class Misbehavior:
    """A behavior of all replicas of a service."""

    def __init__(self, system: System, name: str, behavior: Behavior) -> None:
        self._system, self._name, self._behavior = system, name, behavior

    def set(self, amount: float) -> None:
        """Set the behavior of an amount."""
        self._system.behave(self._name, **self._behavior(amount))

    def clear(self) -> None:
        """Restore the behavior."""
        self._system.behave(self._name)


def behavior(of_amount: Behavior) -> Inject:
    """A behavior of the service at which the fault is."""
    return lambda system, name: Misbehavior(system, name, of_amount)


def early_return(system: System, name: str) -> Misbehavior:
    """A share of the requests is answered with an error, and no request leads to calls of other services any longer."""
    callees = sorted(system.topology.service(name).callees)
    return Misbehavior(system, name, lambda share: {"skip_calls": callees, "error_ratio": share})


class RetryStorm:
    """A service has short timeouts and many retries, and the service that it calls most becomes expensive.

    Each of its requests then takes CPU time: it would be busy for `BUSY_RATIO` of the time without retries. What its
    callers abandoned is computed all the same: more load than its capacity, until the fault ends.
    """

    BUSY_RATIO = 0.6
    MAX_CPU_SECONDS = 0.2
    TIMEOUT_SECONDS = 0.3

    def __init__(self, system: System, name: str) -> None:
        self._system, self._name = system, name
        rates = call_rates(system.topology)
        self._callee = most_called(system.topology, name)
        rate = sum(calls for (_, callee), calls in rates.items() if callee == self._callee)
        replicas = len(system.service(self._callee).replicas)
        self._seconds = min(self.MAX_CPU_SECONDS, self.BUSY_RATIO * replicas / rate)

    def set(self, amount: float) -> None:
        """Retry `amount` times, and make the callee expensive."""
        self._system.behave(self._name, retries=round(amount), timeout_seconds=self.TIMEOUT_SECONDS)
        self._system.behave(self._callee, cpu_seconds=self._seconds)

    def clear(self) -> None:
        """Restore both."""
        self._system.behave(self._name)
        self._system.behave(self._callee)
