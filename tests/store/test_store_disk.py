"""A disk that fails at any operation costs no acknowledged data and no restart; damage to any file is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.store.faults import damages, failing_disk

if TYPE_CHECKING:
    from tests.store.conftest import Bench

HARMLESS = {"lost, counted", "nothing lost, counted", "nothing lost"}


def check_damages(count: int, bench: Bench) -> None:
    """No damage is silent, but what looks like a power loss amid an append; only a format file may refuse."""
    bench.path.mkdir()
    for kind, outcomes in damages.run(count, bench.path).items():
        allowed = HARMLESS | {
            "format": {"refused as another format"},
            "inbox.sqlite-wal": {damages.UNDETECTABLE},
        }.get(kind, set())
        assert outcomes.keys() <= allowed, kind


def test_damage_to_any_file_costs_that_file_and_is_counted(bench: Bench) -> None:
    """Flipped bits, missing ends, zeros, random bytes, missing files."""
    check_damages(27, bench)


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
