"""Runs of an evaluation from `simulated.toml`, and their cached recordings, also with lost scrapes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.meta import META, RecordingError
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording, SeriesRows
from foreshock_dashboard.store.samples.promql_functions import Ints
from foreshock_evaluation.scores.outcome import Run
from foreshock_simulator.scenarios import drawn
from foreshock_simulator.scenarios.platforms.topology import SIZES

SUITES = ("dev", "heldout", "changes", "changes-heldout", "minutes", "minutes-heldout")
FOLDERS = ("releases", "minutes")
"""Folders of scenarios that the simulator's package lacks."""


@dataclass(frozen=True, slots=True)
class Suite:
    """The runs of a suite. day: a long run without a fault."""

    name: str
    runs: tuple[Run, ...]
    day: Run | None = None


def load_suite(name: str, sizes: Sequence[str] = (), scenarios: Sequence[str] = (), seeds: Sequence[int] = ()) -> Suite:
    """One of `SUITES`, restricted to sizes, scenarios, and seeds if given; other seeds are allowed.

    Raises:
        ValueError: the suite has no such scenario.
    """
    content = _content()
    if name.startswith("minutes"):
        return _load_minutes(name, content["minutes"], sizes, scenarios, seeds)
    is_of_changes = name.startswith("changes")
    part: Mapping[str, Any] = content
    if is_of_changes or tuple(sizes) == ("large",):
        part = content["changes" if is_of_changes else "large"]
    known = [*part["scenarios"], *(part.get("dev_scenarios", ()) if name == "dev" else ())]
    _check(scenarios, known)
    runs = tuple(
        Run(scenario, size, seed)
        for size in (sizes or part.get("sizes", content["sizes"]))
        for scenario in known
        if not scenarios or scenario in scenarios
        for seed in (seeds or part["seeds"][name])
    )
    day = content["day"]
    day_seeds = () if sizes or scenarios or seeds or is_of_changes else day["seeds"][name]
    days = [Run(day["scenario"], day["size"], seed, day["hours"] * 3600.0) for seed in day_seeds]
    return Suite(name, runs, days[0] if days else None)


def classes_of(suite: str) -> Mapping[str, Sequence[str]]:
    """Scenarios of each class that a suite scores by itself."""
    classes: Mapping[str, Sequence[str]] = _content()["minutes"]["classes"] if suite.startswith("minutes") else {}
    return {**classes, "random": (drawn.NAME,)} if classes else {}


def _check(scenarios: Sequence[str], known: Sequence[str]) -> None:
    if unknown := [scenario for scenario in scenarios if scenario not in known]:
        raise ValueError(f"the suite has no scenario {unknown[0]!r}; it has {', '.join(known)}")


def _load_minutes(
    name: str, part: Mapping[str, Any], sizes: Sequence[str], scenarios: Sequence[str], seeds: Sequence[int]
) -> Suite:
    """A suite of classes of scenarios, and of random ones on the size that their seed draws."""
    known = [scenario for members in classes_of(name).values() for scenario in members]
    _check(scenarios, known)
    first, last = part["random"][name]
    runs = [
        *(
            Run(scenario, size, seed)
            for size in sizes or part["sizes"]
            for scenario in known
            for seed in seeds or part["seeds"][name]
            if scenario != drawn.NAME
        ),
        *(Run(drawn.NAME, drawn.draw(seed).size, seed) for seed in seeds or range(first, last + 1)),
    ]
    chosen = [run for run in runs if run.size in (sizes or SIZES) and run.scenario in (scenarios or known)]
    return Suite(name, tuple(chosen))


def scenario_place(name: str) -> str:
    """The file of a scenario that this package has; else its name, by which the simulator's package has it."""
    folder = Path(str(files("foreshock_evaluation.suites")))
    return next((str(file) for part in FOLDERS if (file := folder / part / f"{name}.yaml").exists()), name)


def instant_scenarios() -> frozenset[str]:
    """Scenarios whose cascade begins with the fault, so that no detector can warn in time."""
    return frozenset(_content()["instant"])


def _content() -> Mapping[str, Any]:
    return tomllib.loads(files("foreshock_evaluation.suites").joinpath("simulated.toml").read_text(encoding="utf-8"))


def fingerprint(makers: Iterable[str]) -> str:
    """Hash of all files of some packages, or of their folders (`package/folder`), as twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for maker in makers:
        package, _, part = maker.partition("/")
        folder = Path(str(files(package))) / part
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.parent.name != "__pycache__":
                name = f"{maker}/{file.relative_to(folder)}"
                digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def ensure_recording(run: Run, folder: Path) -> Path:
    """Path of a run's recording in a folder, simulated in a subprocess if missing.

    Raises:
        RecordingError: it cannot be simulated.
    """
    path = folder / run.name
    if (path / META).exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    arguments = [
        "dev",
        "simulate",
        scenario_place(run.scenario),
        "--size",
        run.size,
        "--seed",
        str(run.seed),
        "--output-dir",
        str(path),
    ]
    arguments += ["--duration", f"{run.duration:g}s"] if run.duration else []
    process = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "foreshock_dashboard", *arguments], capture_output=True, text=True, check=False
    )
    if process.returncode and not (path / META).exists():  # another evaluation may have made it meanwhile
        lines = process.stderr.strip().splitlines() or ["no error message"]
        raise RecordingError(f"recording {path}: cannot be simulated: {lines[-1].removeprefix('Error: ')}")
    return path


LOST_RATIO = 0.10
"""Share of lost scrapes, besides the 1% that recordings already lack."""


class LossyMetrics(RecordedMetrics):
    """Metrics of a recording with a share of each target's scrapes lost, deterministic by seed."""

    def __init__(self, recording: Recording, seed: int, share: float = LOST_RATIO) -> None:
        super().__init__(recording)
        self._seed, self._share = seed, share

    def _read(self, metric: str, selected: Sequence[SeriesRows], after: int, until: int) -> tuple[Ints, Ints, Floats]:
        positions, times, values = super()._read(metric, selected, after, until)
        targets = np.array([self._target_hash(series) for series in selected], np.uint64)
        present = uniform_hash(targets[positions] ^ times.astype(np.uint64)) >= self._share
        return positions[present], times[present], values[present]

    def _target_hash(self, series: SeriesRows) -> int:
        labels = dict(series.labels)
        name = f"{self._seed} {labels.get('job', '')} {labels.get('instance', '')}"
        return zlib.crc32(name.encode()) << 32


def uniform_hash(keys: NDArray[np.uint64]) -> Floats:
    """Pseudorandom number in [0, 1) for each key: the finalizer of SplitMix64 (Steele et al., 2014)."""
    with np.errstate(over="ignore"):
        mixed = keys + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return (mixed >> np.uint64(11)).astype(np.float64) / 2.0**53
