"""Runs scenarios and prints their outcomes, a line per scenario and size, a cell per seed (docs/internals/realism.md).

  .venv/bin/python -m scripts.realism.play_scenarios [SCENARIO ...] [--sizes small,medium] [--seeds 1,2,3]

A run ends five minutes after the start of its cascade. A minute of one core simulates about 20 hours of a small
platform, 3 of a medium one, and 20 minutes of a large one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.simulation import Simulation
from foreshock_simulator.spec.scenario import Truth

START = 1_767_600_000.0
STEP_SECONDS = 60.0
SECONDS_AFTER_CASCADE = 300.0
"""Rest of a run after the first breach of a service other than the origin."""


class Outcome(NamedTuple):
    """Outcome of a run. Times are seconds after the first fault; NaN without a fault or breach."""

    cascaded: bool
    expected: bool
    onset: float
    first: str
    early: tuple[str, ...]
    """Services that breached before the first fault."""

    def __str__(self) -> str:
        """A cell of the table."""
        onset = f"{self.onset:.0f} s ({self.first})" if self.cascaded else "none"
        early = f"; before: {', '.join(self.early)}" if self.early else ""
        return f"{onset}{early}{'' if self.cascaded == self.expected else ' (!)'}"


def play(name: str, size: str, seed: int) -> Outcome:
    """Run a scenario."""
    spec = load(name, size, seed)
    simulation = Simulation(spec, seed, START, sample=0.0)
    seconds, end, cascaded = 0.0, spec.duration, False
    while seconds < end:
        seconds = min(end, seconds + STEP_SECONDS)
        simulation.advance(START + seconds)
        if not cascaded and simulation.truth().cascaded:
            cascaded, end = True, min(end, seconds + SECONDS_AFTER_CASCADE)
    return outcome(simulation.truth(), spec.expects.cascade)


def outcome(truth: Truth, expected: bool | None) -> Outcome:
    """The outcome of a run from its ground truth. expected: None without an expectation."""
    expected = truth.cascaded if expected is None else expected
    onset = truth.end if truth.onset is None else truth.onset
    early = tuple(name for name, time in truth.breached.items() if time < onset)
    if not truth.victims:
        return Outcome(False, expected, float("nan"), "", early)
    first = truth.victims[0].name
    return Outcome(truth.cascaded, expected, truth.breached[first] - onset, first, early)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="all that come along unless named")
    parser.add_argument("--sizes", default="small")
    parser.add_argument("--seeds", default="1,2,3")
    options = parser.parse_args(arguments)
    for name in options.scenarios or names():
        for size in options.sizes.split(","):
            cells = [str(play(name, size, int(seed))) for seed in options.seeds.split(",")]
            print(f"| `{name}` | {size} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
