"""A disk that fails at any operation costs no acknowledged data and no restart; damage to any file is counted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.hub.hostile.disk import READ, Disk
from tests.store.faults import damages, failing_disk
from tests.store.faults.contents import Acknowledged, open_store, problems, scrape, spans, stored_scrapes, stored_traces

from foreshock_dashboard.store.journal import FORMAT_FILE, JOURNAL_FILE
from foreshock_dashboard.store.wal import PAGE_BYTES, WAL_FILE

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench

HARMLESS = {"lost, counted", "nothing lost, counted", "nothing lost"}


def check_damages(count: int, bench: Bench) -> None:
    """All damage is detected but what looks like a power loss amid an append; only a format file may refuse."""
    also = {(name, "refused as another format") for name in ("format", FORMAT_FILE)}
    also |= {(f"{name}-wal", damages.UNDETECTABLE) for name in (WAL_FILE, JOURNAL_FILE)}
    found = damages.run(count, damages.make_stores(bench.path))
    assert {outcome for outcome in found if outcome[1] not in HARMLESS} <= also


def test_damage_to_any_file_costs_that_file_and_is_counted(bench: Bench) -> None:
    """Flipped bits, missing ends, zeros, random bytes, missing files."""
    check_damages(15, bench)


@pytest.mark.soak
def test_a_thousand_damages_cost_one_file_each_and_are_counted(bench: Bench) -> None:
    """The same for more cases."""
    check_damages(1_000, bench)


def check_failures(count: int, bench: Bench) -> None:
    """Each fault is survived, and most of them hit a call."""
    bench.path.mkdir()
    found = failing_disk.run(count, bench.path)
    assert found.keys() == {"ok", "hit"}
    assert found["hit"] > count // 2


def test_a_disk_that_fails_at_any_call_loses_nothing_and_needs_no_restart(bench: Bench) -> None:
    """ENOSPC, EIO, EROFS and EMFILE on writes, syncs, reads, opens and renames, also while the store is opened."""
    check_failures(24, bench)


@pytest.mark.soak
def test_a_disk_that_fails_six_hundred_times_loses_nothing(bench: Bench) -> None:
    """The same for more calls."""
    check_failures(600, bench)


@pytest.mark.parametrize(("name", "page"), [(WAL_FILE, 0), (WAL_FILE, 2), (WAL_FILE, -1), (f"{WAL_FILE}-wal", 4)])
def test_a_bad_sector_in_the_wal_costs_its_records(bench: Bench, name: str, page: int, tmp_path: Path) -> None:
    """The store opens with the others, and sets the file with the bad sector aside."""
    store = open_store(bench.path)
    for n in range(20):
        store.append_samples([scrape(n)])
        store.append_spans(spans(n))
    if name != WAL_FILE:
        shutil.copytree(bench.path, killed := bench.path.parent / "killed")
        store.close()
        shutil.rmtree(bench.path)
        killed.rename(bench.path)
    store.close()
    file = bench.path / name
    disk = Disk(bench.path, tmp_path, (file, page % (file.stat().st_size // PAGE_BYTES) * PAGE_BYTES + 9_000))
    disk.fail(errno.EIO, 0, READ)
    program = "import sys; from pathlib import Path; from tests.store.faults.contents import open_store as o; "
    program += "s = o(Path(sys.argv[1])); n = s.stats().corrupt; s.close(); sys.exit(n + 10)"
    environment = {**os.environ, **disk.environment}
    opened = subprocess.run([sys.executable, "-c", program, str(bench.path)], env=environment, check=False)
    assert disk.repair() > 0
    disk.close()
    assert opened.returncode == 11
    store = open_store(bench.path)
    everything = Acknowledged({*range(20)}, {*range(20)})
    assert [problem for problem in problems(store, everything, 25) if "lost" not in problem] == []
    assert len(stored_scrapes(store, 20)) + len(stored_traces(store, 20)) >= 20
    store.close()
