"""`make reliability`: faults of many kinds against the store, as a Markdown table."""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from tests.store.faults import damages, failing_disk, kills, power_cuts

_HEAD = "| fault | cases | outcome |\n|---|---|---|"


def main() -> None:
    """Run each kind of fault and print a row for it."""
    parser = argparse.ArgumentParser(prog="make reliability", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, help="kill -9 of a writing process (default: 1000)")
    parser.add_argument("--cuts", type=int, default=10_000, help="simulated power cuts (default: 10000)")
    parser.add_argument("--damages", type=int, default=1_000, help="damages to a file (default: 1000)")
    parser.add_argument("--failures", type=int, default=600, help="failing disks (default: 600)")
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="longest time of each kind (default: no limit)"
    )
    options = parser.parse_args()
    print(_HEAD, flush=True)
    for rows, count in (
        (_kills, options.kills),
        (_power_cuts, options.cuts),
        (_damages, options.damages),
        (_failures, options.failures),
    ):
        with tempfile.TemporaryDirectory(dir=_memory()) as folder:
            batches = _Batches(count, options.minutes)
            for name, cases, outcome in rows(batches, Path(folder)) if count else ():
                print(f"| {name} | {cases:,} | {outcome} |", flush=True)


Outcome = TypeVar("Outcome")


class _Batches:
    """Runs cases in batches, each with its own seed, until their number or the time is reached."""

    def __init__(self, count: int, minutes: float) -> None:
        self._count = count
        self._end = time.monotonic() + 60 * minutes

    def total(self, size: int, run: Callable[[int, int], Counter[Outcome]]) -> tuple[int, Counter[Outcome]]:
        """Call `run(cases, seed)` for each batch. Return the number of cases and the sum of the outcomes."""
        done, found = 0, Counter[Outcome]()
        while done < self._count and time.monotonic() < self._end:
            cases = min(size, self._count - done)
            found += run(cases, 1 + done // size)
            done += cases
            print(f"{done:,} of {self._count:,}", file=sys.stderr, flush=True)
        return done, found


Row = tuple[str, int, str]


def _kills(batches: _Batches, folder: Path) -> Iterator[Row]:
    size = 2 * kills.KILLS_PER_STORE  # a new store, and one of 0.1
    cases, found = batches.total(size, lambda count, seed: kills.run(count, folder / "store", seed))
    yield "`kill -9` amid appends, cuts, compactions, WAL recoveries, and upgrades from 0.1", cases, _text(found)


def _power_cuts(batches: _Batches, folder: Path) -> Iterator[Row]:
    done, checked = power_cuts.recorded(folder), power_cuts.Checked()

    def run(count: int, seed: int) -> Counter[str]:
        return power_cuts.run(done, power_cuts.picked(done, count, seed), folder / "store", checked=checked)

    cases, found = batches.total(500, run)
    states = found.pop("states")
    yield f"simulated power cut, also amid a WAL recovery ({states:,} different states)", cases, _text(found)
    some = [cut._replace(contents="synced") for cut in power_cuts.picked(done, max(1, cases // 50))]
    found = power_cuts.run(done, some, folder / "store", ignored="-wal")
    del found["states"]
    yield "the same on a disk that ignores the syncs of the WAL (negative control)", len(some), _text(found)


def _damages(batches: _Batches, folder: Path) -> Iterator[Row]:
    stores = damages.make_stores(folder)
    _, found = batches.total(100, lambda count, seed: damages.run(count, stores, seed))
    for kind in sorted({kind for kind, _ in found}):
        outcomes = Counter({outcome: count for (name, outcome), count in found.items() if name == kind})
        yield f"damage to `{kind}`", outcomes.total(), _text(outcomes)


def _failures(batches: _Batches, folder: Path) -> Iterator[Row]:
    cases, found = batches.total(60, lambda count, seed: failing_disk.run(count, folder / str(seed), seed))
    hit = found.pop("hit")
    yield f"disk that fails with ENOSPC, EIO, EROFS, or EMFILE ({hit:,} hit a call)", cases, _text(found)


def _text(found: Counter[str]) -> str:
    return "; ".join(f"{name}: {count:,}" for name, count in sorted(found.items(), key=lambda item: -item[1]))


def _memory() -> Path | None:
    """A folder in memory if there is one: syncs of a real disk cost more than all else."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder with a random name is made in it
    return memory if memory.is_dir() else None


if __name__ == "__main__":
    main()
