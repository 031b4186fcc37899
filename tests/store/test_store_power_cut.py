"""Simulated power cuts at any file operation: no acknowledged data is lost, torn or stored twice, and the store opens.

The recorded process makes a store, is killed, comes back with a damaged WAL header, recovers, and goes on.
"""

from __future__ import annotations

import random
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from tests.store.power import cuts

from foreshock_dashboard.store import Store

if TYPE_CHECKING:
    from tests.store.conftest import Bench, Values

APPENDS = 14
"""Appends of each process: enough for a compaction."""
WRITER = "tests.store.power.writer"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[cuts.Operation]:
    """All operations of the two processes."""
    place = tmp_path_factory.mktemp("recorded")
    library, log = cuts.recorder(place), place / "log"
    root = place / "disk"
    root.mkdir()
    for first, state in ((0, "sound"), (APPENDS, "damaged")):
        command = [sys.executable, "-m", WRITER, str(root / "store"), str(first), str(APPENDS), state]
        cuts.record(command, root, library, log)
    return [
        operation._replace(
            path=Path("/", operation.path.relative_to(root)) if operation.name != "mark" else operation.path,
            other_path=Path("/", operation.other_path.relative_to(root)) if operation.name == "rename" else Path("/"),
        )
        for operation in cuts.operations(log)
    ]


class Cut(NamedTuple):
    """A power cut after a number of operations."""

    after: int
    contents: str
    names: str


def outcomes(
    operations: list[cuts.Operation], picked: list[Cut], bench: Bench, values: Values, ignored: str | None = None
) -> Counter[str]:
    """Open the state after each power cut. Return how often each problem was found; `"ok"` without one."""
    disk, found, chance = cuts.SimulatedDisk(Path("/"), ignored), Counter[str](), random.Random(len(picked))
    due: dict[int, list[Cut]] = {}
    for cut in picked:
        due.setdefault(cut.after, []).append(cut)
    acknowledged: dict[str, int] = {"m": -1, "s": -1}
    for number, operation in enumerate(operations, 1):
        if operation.name == "mark":
            for line in operation.data.decode().splitlines():
                match line.split():
                    case ["m" | "s" as kind, str(n)] if n.isdigit():
                        acknowledged[kind] = int(n)
        else:
            disk.apply(operation)
        for cut in due.get(number, []):
            shutil.rmtree(bench.path, ignore_errors=True)
            bench.path.mkdir()
            disk.cut(bench.path, cut.contents, cut.names, chance)
            problem = problem_of(bench, values, acknowledged)
            found[problem if problem == "ok" else f"{problem}: {cut}"] += 1
    return found


def problem_of(bench: Bench, values: Values, acknowledged: dict[str, int]) -> str:
    """Open the store; compare it with what was acknowledged."""
    try:
        store = bench.open(folder=bench.path / "store")
    except Exception as error:  # noqa: BLE001 - each is an outcome
        return f"does not open ({error})"
    try:
        return loss(store, values, acknowledged)
    finally:
        store.close()
        bench.opened.clear()


def loss(store: Store, values: Values, acknowledged: dict[str, int]) -> str:
    scrapes = values(store, 2 * APPENDS)
    spans = {n: store.get(f"{n:032x}") for n in range(acknowledged["s"] + 2)}
    if not set(range(acknowledged["m"] + 1)) <= scrapes.keys():
        return "lost samples"
    if not all(len(spans[n]) == 3 for n in range(acknowledged["s"] + 1)):
        return "lost spans"
    if any(column != [float(n)] * 3 for n, column in scrapes.items()) or {*map(len, spans.values())} - {0, 3}:
        return "torn"
    stats = store.stats()
    if stats.spans != sum(map(len, spans.values())):
        return "stored twice"
    return "ok"


def picked(operations: list[cuts.Operation], count: int) -> list[Cut]:
    """Return power cuts at random operations, of every kind."""
    chance = random.Random(count)
    return [
        Cut(chance.randrange(1, len(operations) + 1), cuts.CONTENTS[number % 4], cuts.NAMES[number // 4 % 2])
        for number in range(count)
    ]


def test_power_cuts_lose_nothing_that_was_acknowledged(
    recorded: list[cuts.Operation], bench: Bench, values: Values
) -> None:
    """Any moment, any subset of what was not synced."""
    assert outcomes(recorded, picked(recorded, 96), bench, values) == {"ok": 96}


@pytest.mark.soak
def test_ten_thousand_power_cuts_lose_nothing_that_was_acknowledged(
    recorded: list[cuts.Operation], bench: Bench, values: Values
) -> None:
    """The same for more states."""
    assert outcomes(recorded, picked(recorded, 10_000), bench, values) == {"ok": 10_000}


@pytest.mark.parametrize("ignored", ["-wal", ".parquet"])
def test_the_simulation_sees_a_loss_if_syncs_have_no_effect(
    recorded: list[cuts.Operation], bench: Bench, values: Values, ignored: str
) -> None:
    """The negative control: with a disk that ignores the syncs of some files, acknowledged data is lost."""
    some = [cut._replace(contents="synced") for cut in picked(recorded, 24)]
    found = outcomes(recorded, some, bench, values, ignored)
    assert sum(count for problem, count in found.items() if problem.startswith("lost")) >= 4
