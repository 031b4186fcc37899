"""Plays scenarios and prints what came of them: a line for each scenario, size and seed, as in docs/realism.md.

  .venv/bin/python scripts/play_scenarios.py [SCENARIO ...] [--sizes small,medium] [--seeds 1,2,3]

A run ends five minutes after its cascade has begun. A minute of one core plays about 20 hours of a small platform, 3 of
a medium one, and 20 minutes of a large one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.scenario import Truth

START = 1_767_600_000.0
STEP = 60.0
AFTER = 300.0
"""Seconds that a run goes on once others than the origin breach."""


class Outcome(NamedTuple):
    """What a run came to. Seconds are after the first fault; NaN where it has none or nothing breached."""

    cascaded: bool
    expected: bool
    onset: float
    first: str
    early: tuple[str, ...]
    """Services that breached before anything happened to them."""

    def __str__(self) -> str:
        """A cell of the table."""
        told = f"{self.onset:.0f} s ({self.first})" if self.cascaded else "none"
        early = f"; before: {', '.join(self.early)}" if self.early else ""
        return f"{told}{early}{'' if self.cascaded == self.expected else ' (!)'}"


def play(name: str, size: str, seed: int) -> Outcome:
    """Play a scenario."""
    spec = load(name, size, seed)
    simulation = Simulation(spec, seed, START, sample=0.0)
    seconds, end, cascaded = 0.0, spec.duration, False
    while seconds < end:
        seconds = min(end, seconds + STEP)
        simulation.advance(START + seconds)
        if not cascaded and simulation.truth().cascaded:
            cascaded, end = True, min(end, seconds + AFTER)
    return outcome(simulation.truth(), spec.expects.cascade)


def outcome(truth: Truth, expected: bool) -> Outcome:
    """What the truth of a run says."""
    began = truth.end if truth.onset is None else truth.onset
    early = tuple(name for name, time in truth.breached.items() if time < began)
    if not truth.victims:
        return Outcome(False, expected, float("nan"), "", early)
    first = truth.victims[0].name
    return Outcome(truth.cascaded, expected, truth.breached[first] - began, first, early)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="all that come along unless named")
    parser.add_argument("--sizes", default="small")
    parser.add_argument("--seeds", default="1,2,3")
    asked = parser.parse_args(arguments)
    for name in asked.scenarios or names():
        for size in asked.sizes.split(","):
            cells = [str(play(name, size, int(seed))) for seed in asked.seeds.split(",")]
            print(f"| `{name}` | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
