"""The plots of docs/internals/analysis.md, from recordings of the simulator.

    python -m scripts.docs.analysis.plots [NAME ...] [--out docs/internals/analysis] [--recordings DIR] [--seed 11]

Without --recordings the scenarios are simulated into a folder that is deleted afterwards; a folder keeps them.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from foreshock_dashboard.recording.meta import RecordingError
from foreshock_evaluation.scores import outcome
from foreshock_evaluation.suites.simulated import ensure_recording
from scripts.docs.analysis import causes, load, signs
from scripts.docs.analysis.run import Run, replayed

PLOTS: dict[str, tuple[str, Callable[[Run], str]]] = signs.PLOTS | load.PLOTS | causes.PLOTS
"""Scenario and function that draws the SVG, by file name."""
SIZE = "small"


def main(argv: list[str]) -> int:
    """Write the plots; exit code 0, 1 if a scenario cannot be simulated or read, 2 for wrong usage."""
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(PLOTS)}; all without")
    parser.add_argument("--out", type=Path, default=Path("docs/internals/analysis"), help="folder for the plots")
    parser.add_argument("--recordings", type=Path, help="folder of existing and new recordings")
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.names if name not in PLOTS]:
        parser.error(f"there is no plot {unknown[0]!r}; there are {', '.join(PLOTS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as scratch:
        try:
            draw(arguments.names or PLOTS, arguments.out, arguments.recordings or Path(scratch), arguments.seed)
        except RecordingError as error:
            print(f"analysis_plots: {error}", file=sys.stderr)
            return 1
    return 0


def draw(names: Iterable[str], out: Path, recordings: Path, seed: int) -> None:
    """Write plots.

    Raises:
        RecordingError: a scenario cannot be simulated, or its recording cannot be read.
    """

    @cache
    def run(scenario: str) -> Run:
        return replayed(ensure_recording(outcome.Run(scenario, SIZE, seed), recordings))

    for name in sorted(names, key=lambda name: PLOTS[name][0]):
        scenario, plot = PLOTS[name]
        (out / f"{name}.svg").write_text(plot(run(scenario)), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
