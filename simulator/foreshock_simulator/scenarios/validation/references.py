"""Checks of references to names and GPUs."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from foreshock_simulator.scenarios.parsing.problems import Problems, alternatives
from foreshock_simulator.spec.scenario import PlatformSpec


class Lines(Protocol):
    """Line numbers of values."""

    def line(self, value: object, field: str = "", default: int | None = None) -> int:
        """The line of a value or of its field."""
        ...


def known_reference(name: str, known: Iterable[str], kind: str, line: int, problems: Problems) -> bool:
    """Whether a name is known; an unknown name is a problem."""
    names = set(known)
    if name not in names:
        problems.add(line, f"there is no {kind} {name!r}", alternatives(name, names))
    return name in names


def check_places(places: Iterable[tuple[str, int]], platform: PlatformSpec, line: int, problems: Problems) -> None:
    """Check that GPUs exist."""
    gpus = {host.name: host.gpus for host in platform.hosts}
    for host, gpu in places:
        if known_reference(host, gpus, "host", line, problems) and gpu >= gpus[host]:
            problems.add(line, f"{host} has no GPU {gpu}", f"it has {gpus[host]}, counted from 0")
