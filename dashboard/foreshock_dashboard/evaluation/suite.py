"""Which runs an evaluation scores: scenarios, sizes and seeds, from `suite.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from foreshock_dashboard.evaluation.outcome import Run

NAMES = ("dev", "heldout")


@dataclass(frozen=True, slots=True)
class Suite:
    """The runs of a suite. instant: scenarios that no detector can page before. day: a long run without a fault."""

    name: str
    runs: tuple[Run, ...]
    instant: frozenset[str]
    day: Run | None = None


def suite(name: str, sizes: Sequence[str] = (), scenarios: Sequence[str] = (), seeds: Sequence[int] = ()) -> Suite:
    """The suite `dev` or `heldout`, or the part of it that is asked for; other seeds than its own may be named.

    Raises:
        ValueError: it has no such scenario.
    """
    found = _frozen()
    large = tuple(sizes) == ("large",)
    part: Mapping[str, Any] = found["large"] if large else found
    if unknown := [each for each in scenarios if each not in part["scenarios"]]:
        raise ValueError(f"the suite has no scenario {unknown[0]!r}; it has {', '.join(part['scenarios'])}")
    runs = tuple(
        Run(scenario, size, seed)
        for size in (sizes or found["sizes"])
        for scenario in part["scenarios"]
        if not scenarios or scenario in scenarios
        for seed in (seeds or part["seeds"][name])
    )
    whole = not (sizes or scenarios or seeds)
    day = found["day"]
    long = [Run(day["scenario"], day["size"], seed, day["hours"] * 3600.0) for seed in day["seeds"][name] if whole]
    return Suite(name, runs, instant(), long[0] if long else None)


def instant() -> frozenset[str]:
    """Scenarios that no detector can page before."""
    return frozenset(_frozen()["instant"])


def _frozen() -> Mapping[str, Any]:
    return tomllib.loads(files("foreshock_dashboard.evaluation").joinpath("suite.toml").read_text(encoding="utf-8"))
