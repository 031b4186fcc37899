"""Simulated power cuts lose, tear or duplicate nothing that was acknowledged, and the store opens after each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.store.faults import power_cuts

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from tests.store.conftest import Bench
    from tests.store.faults.simulated_disk import Operation


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> list[Operation]:
    """All operations of two processes."""
    return power_cuts.recorded(tmp_path_factory.mktemp("recorded"))


def test_power_cuts_lose_nothing_that_was_acknowledged(recorded: list[Operation], bench: Bench) -> None:
    """Any moment, any part of what was not synced; also amid the recovery of a damaged WAL."""
    found = power_cuts.run(recorded, power_cuts.picked(recorded, 30), bench.path)
    assert found.keys() == {"ok", "states"}
    assert found["states"] > 15


@pytest.mark.soak
def test_ten_thousand_power_cuts_lose_nothing_that_was_acknowledged(recorded: list[Operation], bench: Bench) -> None:
    """The same for more states."""
    found = power_cuts.run(recorded, power_cuts.picked(recorded, 10_000), bench.path)
    assert found.keys() == {"ok", "states"}


@pytest.mark.parametrize("ignored", ["-wal", ".parquet"])
def test_the_simulation_sees_a_loss_if_syncs_have_no_effect(
    recorded: list[Operation], bench: Bench, ignored: str
) -> None:
    """The negative control: a disk that ignores the syncs of some files loses acknowledged data."""
    some = [cut._replace(contents="synced") for cut in power_cuts.picked(recorded, 16)]
    found = power_cuts.run(recorded, some, bench.path, ignored)
    assert found["ok"] < 16
    assert sum(count for problem, count in found.items() if "lost" in problem) >= 4
