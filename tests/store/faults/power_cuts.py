"""Simulated power cuts at any file operation of two processes.

The first one makes a store and is killed. The second one finds a damaged WAL header, recovers, and goes on.
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tests.store.faults.contents import Acknowledged, Problem, journal_problems, open_journal, open_store, problems
from tests.store.faults.simulated_disk import (
    CONTENTS,
    NAMES,
    Operation,
    SimulatedDisk,
    build_recorder,
    operations,
    record,
)

APPENDS = 14
"""Requests of each process: enough for a compaction."""


class Cut(NamedTuple):
    """A power cut after a number of operations."""

    after: int
    contents: str
    names: str


def recorded(folder: Path) -> list[Operation]:
    """Run both processes below `folder`. Return their operations, with paths that begin there."""
    library, log, root = build_recorder(folder), folder / "log", folder / "disk"
    root.mkdir()
    for first, state in ((0, "sound"), (APPENDS, "damaged")):
        module = "tests.store.faults.recorded_writer"
        command = [sys.executable, "-m", module, str(root / "store"), str(first), str(APPENDS), state]
        record(command, root, library, log)
    return operations(log, root)


def picked(done: Sequence[Operation], count: int, seed: int = 1) -> list[Cut]:
    """Return power cuts at random operations, of every kind."""
    chance = random.Random(seed)
    return [
        Cut(chance.randrange(1, len(done) + 1), CONTENTS[number % 4], NAMES[number // 4 % 2]) for number in range(count)
    ]


Checked = dict[bytes, list[Problem]]
"""What was found in each state, by its digest."""


def run(
    done: Sequence[Operation],
    cuts: Sequence[Cut],
    folder: Path,
    ignored: str | None = None,
    checked: Checked | None = None,
) -> Counter[Problem]:
    """Open the state after each power cut. Return how often each problem was found; "ok" without one.

    Equal states are opened once. Those that are not yet in `checked` are counted under "states".
    `ignored`: suffix of the files whose syncs have no effect, as a negative control.
    """
    checked = {} if checked is None else checked
    known = len(checked)
    disk, found, chance = SimulatedDisk(ignored), Counter[Problem](), random.Random(len(cuts))
    due: dict[int, list[Cut]] = {}
    for cut in cuts:
        due.setdefault(cut.after, []).append(cut)
    acknowledged = Acknowledged()
    for number, operation in enumerate(done, 1):
        if operation.name == "mark":
            acknowledged.read(operation.data.decode())
        else:
            disk.apply(operation)
        for cut in due.get(number, []):
            state = disk.after_cut(cut.contents, cut.names, chance)
            key = _digest(state, acknowledged)
            if key not in checked:
                checked[key] = _problems(_written(state, folder) / "store", acknowledged)
            for problem in checked[key] or ["ok"]:
                found[problem] += 1
    return found + Counter(states=len(checked) - known)


def _digest(state: Mapping[Path, bytes | None], acknowledged: Acknowledged) -> bytes:
    digest = hashlib.blake2b(repr(acknowledged).encode())
    for path, content in sorted(state.items()):
        digest.update(f"\n{path} {'folder' if content is None else len(content)}\n".encode())
        digest.update(content or b"")
    return digest.digest()


def _written(state: Mapping[Path, bytes | None], folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir()
        else:
            (folder / path).write_bytes(content)
    return folder


def _problems(folder: Path, acknowledged: Acknowledged) -> list[Problem]:
    try:
        store = open_store(folder)
    except Exception as error:  # noqa: BLE001 - each is an outcome
        return [f"does not open: {error}"]
    with closing(store):
        try:
            journal = open_journal(folder)
        except Exception as error:  # noqa: BLE001 - likewise
            return [f"the journal does not open: {error}"]
        with closing(journal):
            found = problems(store, acknowledged, acknowledged.end)
            return found + journal_problems(journal, acknowledged)
