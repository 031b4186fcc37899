"""Runs of an evaluation from `suite.toml`, and their cached recordings, also with lost scrapes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.meta import META
from foreshock_dashboard.recording.metrics import RecordedMetrics
from foreshock_dashboard.recording.reader import Recording, SeriesRows
from foreshock_evaluation.outcome import Run

SUITES = ("dev", "heldout")


@dataclass(frozen=True, slots=True)
class Suite:
    """The runs of a suite. instant: scenarios that no detector can page before. day: a long run without a fault."""

    name: str
    runs: tuple[Run, ...]
    instant: frozenset[str]
    day: Run | None = None


def load_suite(name: str, sizes: Sequence[str] = (), scenarios: Sequence[str] = (), seeds: Sequence[int] = ()) -> Suite:
    """The suite `dev` or `heldout`, restricted to sizes, scenarios, and seeds if given; other seeds are allowed.

    Raises:
        ValueError: the suite has no such scenario.
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
    return Suite(name, runs, instant_scenarios(), long[0] if long else None)


def instant_scenarios() -> frozenset[str]:
    """Scenarios whose cascade begins with the fault, so that no detector can warn in time."""
    return frozenset(_frozen()["instant"])


def _frozen() -> Mapping[str, Any]:
    return tomllib.loads(files("foreshock_evaluation").joinpath("suite.toml").read_text(encoding="utf-8"))


def fingerprint(packages: Iterable[str]) -> str:
    """Hash of all files of some packages, as twelve hexadecimal digits."""
    digest = hashlib.sha256()
    for package in packages:
        for name, file in sorted(_files(files(package), package)):
            digest.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:12]


def _files(folder: Traversable, name: str) -> Iterable[tuple[str, Traversable]]:
    for item in folder.iterdir():
        if item.is_dir() and item.name != "__pycache__":
            yield from _files(item, f"{name}/{item.name}")
        elif item.is_file():
            yield f"{name}/{item.name}", item


def ensure_recording(run: Run, folder: Path) -> Path:
    """Path of a run's recording in a folder, simulated in a subprocess if missing.

    Raises:
        RecordingError: it cannot be simulated.
    """
    path = folder / run.name
    if (path / META).exists():
        return path
    folder.mkdir(parents=True, exist_ok=True)
    words = ["simulate", run.scenario, "--size", run.size, "--seed", str(run.seed), "--out", str(path)]
    words += ["--duration", f"{run.duration:g}s"] if run.duration else []
    done = subprocess.run(  # noqa: S603 - our own command
        [sys.executable, "-m", "foreshock_dashboard", *words], capture_output=True, text=True, check=False
    )
    if done.returncode and not (path / META).exists():  # another evaluation may have made it meanwhile
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RecordingError(f"recording {path}: cannot be simulated: {said[-1]}")
    return path


Ints = NDArray[np.int64]

LOST_RATIO = 0.10
"""Share of lost scrapes, besides the 1% that recordings already lack."""


class LossyMetrics(RecordedMetrics):
    """Metrics of a recording with a share of each target's scrapes lost, deterministic by seed."""

    def __init__(self, recording: Recording, seed: int, share: float = LOST_RATIO) -> None:
        super().__init__(recording)
        self._seed, self._share = seed, share

    def _read(self, metric: str, chosen: Sequence[SeriesRows], after: int, until: int) -> tuple[Ints, Ints, Floats]:
        at, times, values = super()._read(metric, chosen, after, until)
        targets = np.array([self._target(stretch) for stretch in chosen], np.uint64)
        kept = uniform_hash(targets[at] ^ times.astype(np.uint64)) >= self._share
        return at[kept], times[kept], values[kept]

    def _target(self, stretch: SeriesRows) -> int:
        labels = dict(stretch.labels)
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
