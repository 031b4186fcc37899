"""`merge`: the recordings of each system as one stream, a tenth as large, from which the evaluation cuts them again."""

from __future__ import annotations

import argparse
from pathlib import Path

import orjson

from foreshock_dashboard.recording.meta import TRUTH
from foreshock_evaluation.streams.stream import merge


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command's options."""
    parser = commands.add_parser(
        "merge", help="merge the recordings of each system into a stream that is small enough to keep"
    )
    parser.add_argument("--recordings", type=Path, required=True, help="folder of a campaign's recordings")
    parser.add_argument("--output-dir", type=Path, required=True, help="folder of the streams, in dev/ and heldout/")
    parser.set_defaults(command=merge_systems)


def merge_systems(options: argparse.Namespace) -> int:
    """Write a stream for each system; 1 if there is none, or one exists."""
    systems: dict[Path, list[Path]] = {}
    for path in sorted(options.recordings.rglob(TRUTH)):
        truth = orjson.loads(path.read_bytes())
        systems.setdefault(options.output_dir / truth["split"] / truth["topology"], []).append(path.parent)
    if not systems:
        print(f"--recordings: {options.recordings} has no recording of the laboratory")
        return 1
    if found := [str(out) for out in systems if out.exists()]:
        print(f"--output-dir: {', '.join(found)} exists; remove it or name another folder")
        return 1
    for out, recordings in systems.items():
        print(f"{out}: {len(recordings)} recordings, {merge(recordings, out) / 2**20:.2f} MiB")
    return 0
