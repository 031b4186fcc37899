"""One recording scored: what the analysis said of it, held against its truth."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from foreshock_dashboard.evaluation.protocol import DAY, Heard, components, heard, scored
from foreshock_dashboard.evaluation.truth import Expected, Truth
from foreshock_dashboard.evaluation.verdict import History, Verdict, foresaw_storm, judged, opened, paged
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import World

_NAME = re.compile(r"(?P<size>[a-z]+)-(?P<seed>[0-9]+)-(?P<scenario>.+?)(-(?P<hours>[0-9.]+)h)?")


class Run(NamedTuple):
    """A scenario played on a platform of a size drawn by a seed, for `duration` seconds (None: as long as it is)."""

    scenario: str
    size: str
    seed: int
    duration: float | None = None

    @property
    def name(self) -> str:
        """`small-11-outage`, `medium-101-calm-24h`: the name of its recording's folder."""
        hours = f"-{self.duration / 3600:g}h" if self.duration else ""
        return f"{self.size}-{self.seed}-{self.scenario}{hours}"

    @classmethod
    def parse(cls, name: str) -> Run:
        """Read the name of a folder.

        Raises:
            ValueError: it is not of the form SIZE-SEED-SCENARIO.
        """
        found = _NAME.fullmatch(name)
        if found is None:
            raise ValueError(f"{name!r} is not of the form SIZE-SEED-SCENARIO")
        hours = found["hours"]
        return cls(found["scenario"], found["size"], int(found["seed"]), float(hours) * 3600.0 if hours else None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    scored: it went as its scenario means it to. expected: its scenario has a cascade. cause: its true class. gap:
    seconds from the fault to the cascade; None without one. services: that had requests. pages and advisories: what
    they were worth; what pages counts as an advisory from when it opened. verdict: of the first page that is a hit.
    storm: an advisory of a retry storm was open when the trigger came; None where the truth is none.
    """

    run: Run
    scored: bool
    expected: bool
    cause: str
    gap: float | None
    services: int
    pages: Heard
    advisories: Heard
    verdict: Verdict | None
    storm: bool | None

    @property
    def service_days(self) -> float:
        """Service-days in which a page would have been false."""
        return self.services * self.pages.quiet / DAY


def outcome_of(run: Run, truth: Truth, expected: Expected, world: World, history: History) -> Outcome:
    """Score what was said while a recording was played."""
    component = components(world)
    said = paged(history)
    pages = heard(truth, expected, (each.page for each in said), component)
    first = next((each for each in said if pages.hit and each.page == pages.first), None)
    return Outcome(
        run=run,
        scored=scored(truth, expected),
        expected=expected.cascade,
        cause=truth.cause,
        gap=truth.began - truth.onset if truth.cascaded and truth.onset is not None else None,
        services=busy_services(world),
        pages=pages,
        advisories=heard(truth, expected, (each.page for each in opened(history)), component),
        verdict=judged(truth, expected, first) if first else None,
        storm=foresaw_storm(truth, history) if truth.cause == "retry_storm" else None,
    )


def busy_services(world: World) -> int:
    """Services that had a request at some time: those that something can be said of."""
    rate: Floats = world.red.rate
    return int((rate > 0).any(axis=1).sum())
