"""Faults of the load: more requests, and longer ones."""

from __future__ import annotations

from foreshock_lab.faults.target import System


class Surge:
    """`amount` times the requests."""

    def __init__(self, system: System, _name: str) -> None:
        self._system = system

    def set(self, amount: float) -> None:
        """Set the factor on the arrival rate."""
        self._system.load(rate_factor=amount)

    def clear(self) -> None:
        """Return to the normal request rate."""
        self._system.load()


class LongerRequests(Surge):
    """Prompts and outputs are `amount` times as long."""

    def set(self, amount: float) -> None:
        """Set the factor on the length."""
        self._system.load(prompt_factor=amount, output_factor=amount)
