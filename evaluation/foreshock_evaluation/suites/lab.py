"""Recordings of the laboratory as runs of an evaluation: real systems under real faults (lab/README.md)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.recording.meta import META, TRUTH
from foreshock_evaluation.scores.outcome import Run
from foreshock_evaluation.scores.truth import Expected

LAB = "lab"
"""Name of the suite."""
MIN_DEVELOP_SECONDS = 120.0
"""A fault that is at its full amount sooner leaves no time for a warning."""


class LabRun(NamedTuple):
    """A recording of a fault or look-alike. is_instant: no detector can warn in time."""

    run: Run
    expected: Expected
    path: Path
    is_instant: bool


def lab_runs(folder: Path, seeds: Sequence[str] = (), kinds: Sequence[str] = ()) -> list[LabRun]:
    """The recordings of a folder, at any depth, restricted to seeds and kinds of faults if given.

    Raises:
        ValueError: the truth of a recording cannot be used.
    """
    runs = []
    for path in sorted(meta.parent for meta in folder.rglob(META) if (meta.parent / TRUTH).exists()):
        try:
            found = lab_run(path, orjson.loads((path / TRUTH).read_bytes()))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: {TRUTH} cannot be used: {error}") from None
        if (not seeds or str(found.run.seed) in seeds) and (not kinds or found.run.scenario in kinds):
            runs.append(found)
    return runs


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
