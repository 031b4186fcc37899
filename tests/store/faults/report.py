"""`make reliability`: faults of many kinds against the store, as a Markdown table."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.store.faults import damages, failing_disk, kills, power_cuts

_HEAD = "| fault | cases | outcome |\n|---|---|---|"


def main() -> None:
    """Run each kind of fault and print a row for it."""
    parser = argparse.ArgumentParser(prog="make reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, help="kill -9 of a writing process (default: 1000)")
    parser.add_argument("--cuts", type=int, default=10_000, help="simulated power cuts (default: 10000)")
    parser.add_argument("--damages", type=int, default=1_000, help="damages to a file (default: 1000)")
    parser.add_argument("--failures", type=int, default=600, help="failing disks (default: 600)")
    options = parser.parse_args()
    print(_HEAD, flush=True)
    for rows, count in (
        (_kills, options.kills),
        (_power_cuts, options.cuts),
        (_damages, options.damages),
        (_failures, options.failures),
    ):
        with tempfile.TemporaryDirectory(dir=_memory()) as folder:
            for name, cases, outcome in rows(count, Path(folder)) if count else ():
                print(f"| {name} | {cases:,} | {outcome} |", flush=True)


Row = tuple[str, int, str]


def _kills(count: int, folder: Path) -> Iterator[Row]:
    found = kills.run(count, folder / "store")
    yield "`kill -9` amid appends, cuts, compactions, WAL recoveries, and upgrades from 0.1", count, _text(found)


def _power_cuts(count: int, folder: Path) -> Iterator[Row]:
    done = power_cuts.recorded(folder)
    found = power_cuts.run(done, power_cuts.picked(done, count), folder / "store")
    states = found.pop("states")
    yield f"simulated power cut, also amid a WAL recovery ({states:,} different states)", count, _text(found)
    some = [cut._replace(contents="synced") for cut in power_cuts.picked(done, max(1, count // 50))]
    found = power_cuts.run(done, some, folder / "store", ignored="-wal")
    del found["states"]
    yield "the same on a disk that ignores the syncs of the WAL (negative control)", len(some), _text(found)


def _damages(count: int, folder: Path) -> Iterator[Row]:
    for kind, found in damages.run(count, folder).items():
        yield f"damage to `{kind}`", found.total(), _text(found)


def _failures(count: int, folder: Path) -> Iterator[Row]:
    found = failing_disk.run(count, folder)
    hit = found.pop("hit")
    yield f"disk that fails with ENOSPC, EIO, EROFS, or EMFILE ({hit:,} hit a call)", count, _text(found)


def _text(found: Counter[str]) -> str:
    return "; ".join(f"{name}: {count:,}" for name, count in sorted(found.items(), key=lambda item: -item[1]))


def _memory() -> Path | None:
    """A folder in memory if there is one: syncs of a real disk cost more than all else."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    return memory if memory.is_dir() else None


if __name__ == "__main__":
    main()
