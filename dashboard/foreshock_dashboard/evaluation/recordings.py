"""Recordings of runs, made once and kept: a cache that forgets when what makes them changes."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from foreshock_dashboard.evaluation.outcome import Run
from foreshock_dashboard.recording.errors import RecordingError
from foreshock_dashboard.recording.meta import META


def fingerprint(packages: Iterable[str]) -> str:
    """Twelve hexadecimal digits that change when any file of these packages does."""
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


def recorded(run: Run, folder: Path) -> Path:
    """The recording of a run in a folder, simulated in a process of its own where it is not there yet.

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
