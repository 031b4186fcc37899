"""Acknowledged data survives `kill -9` at any moment, exactly once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.store.faults import contents, kills
from tests.store.snapshots import SnapshotDisk

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench


def test_kill_9_neither_loses_nor_duplicates_acknowledged_data(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads append, a third one cuts and compacts blocks; stores of 0.1, and damaged WALs, are among them."""
    monkeypatch.setattr(kills, "KILLS_PER_STORE", 6)
    assert kills.run(12, bench.path) == {"ok": 12}


@pytest.mark.soak
def test_1000_kills_neither_lose_nor_duplicate_acknowledged_data(bench: Bench) -> None:
    """The same for longer."""
    assert kills.run(1_000, bench.path) == {"ok": 1_000}


def test_a_store_of_0_1_opens_with_all_of_its_data_also_after_a_kill_amid_the_upgrade(
    bench: Bench, tmp_path: Path
) -> None:
    """It was killed itself: its WAL has a journal with two requests. New requests follow, and blocks are compacted."""
    contents.unpack_old_store(bench.path)
    old = contents.Acknowledged({*range(contents.OLD_REQUESTS)}, {*range(contents.OLD_REQUESTS)})
    disk = SnapshotDisk(bench.path, tmp_path / "snapshots")
    store = bench.open(contents.LIMITS, disk=disk)
    assert contents.problems(store, old, old.end) == []
    for n in range(contents.OLD_REQUESTS, contents.OLD_REQUESTS + 8):
        store.append_samples([contents.scrape(n)])
        store.append_spans(contents.spans(n))
        store.maintain()
    store.close()
    folders = [bench.path, *(folder for _, folder in disk.taken)]
    for folder in folders[:: len(folders) // 12]:
        store = bench.open(contents.LIMITS, folder=folder)
        assert contents.problems(store, old, contents.OLD_REQUESTS + 8) == []
        assert store.stats().corrupt == 0
        store.close()
