"""Recordings of the laboratory as runs of an evaluation: real systems under real faults (lab/README.md)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.meta import META, TRUTH
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.scores.truth import Expected
from foreshock_evaluation.streams.stream import FAULTS, read_faults

LAB, LAB_HELD_OUT = "lab", "lab-heldout"
"""Names of the suites."""
KEPT: Mapping[str, Path] = {
    name: Path(__file__).parents[3] / "lab" / "recordings" / split
    for name, split in ((LAB, "dev"), (LAB_HELD_OUT, "heldout"))
}
"""Folders of their streams in the repository."""
MIN_DEVELOP_SECONDS = 120.0
"""A fault that is at its full amount sooner leaves no time for a warning."""


class LabRun(NamedTuple):
    """A fault or look-alike.

    path: of its recording, or of the stream from which that is cut. is_instant: no detector can warn in time.
    """

    run: Run
    expected: Expected
    path: Path
    is_instant: bool


def lab_runs(folder: Path, seeds: Sequence[str] = (), kinds: Sequence[str] = ()) -> list[LabRun]:
    """The recordings of a folder and the faults of its streams, at any depth, restricted to seeds and kinds if given.

    Raises:
        ValueError: the truth of a recording or stream cannot be used.
    """
    return [
        found
        for path in sorted({file.parent for name in (META, FAULTS) for file in folder.rglob(name)})
        for found in _runs_at(path)
        if (not seeds or str(found.run.seed) in seeds) and (not kinds or found.run.scenario in kinds)
    ]


def _runs_at(path: Path) -> Iterator[LabRun]:
    try:
        if (path / FAULTS).exists():
            yield from (lab_run(path, fault.truth) for fault in read_faults(path))
        elif (path / TRUTH).exists():
            yield lab_run(path, orjson.loads((path / TRUTH).read_bytes()))
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: the ground truth cannot be used: {error}") from None


def lab_run(path: Path, truth: dict[str, Any]) -> LabRun:
    """A recording with its truth.

    Raises:
        KeyError, TypeError, ValueError: the truth has another form.
    """
    caller, arrow, callee = str(truth["root_cause"] or "").partition(" -> ")
    edge = (Service.parse(caller), Service.parse(callee)) if arrow else None
    named = [Service.parse(name) for name in (caller, callee, *truth["also_right"]) if name]
    seed = int(truth["seed"])
    run = Run(truth["kind"], truth["topology"].removesuffix(f"-{seed}"), seed, strength=int(truth["strength"]))
    expected = Expected(cascade=not truth["lookalike"], root_causes=frozenset(named), edge=edge)
    return LabRun(run, expected, path, float(truth["develops_seconds"]) < MIN_DEVELOP_SECONDS)
