"""Control files that change a running service."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from behavior import Behavior, strikes


def test_a_service_without_a_control_file_behaves_normally(tmp_path: Path) -> None:
    assert Behavior(tmp_path / "control.json").of("buy") == {}


@pytest.mark.parametrize(("operations", "applies"), [([], True), (["buy"], True), (["view"], False)])
def test_a_behavior_applies_to_the_operations_it_names(tmp_path: Path, operations: list[str], applies: bool) -> None:
    path = tmp_path / "control.json"
    path.write_text(json.dumps({"delay_seconds": 1.0, "operations": operations}))
    assert ("delay_seconds" in Behavior(path).of("buy")) is applies


def test_a_changed_file_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "control.json"
    path.write_text('{"slots": 2}')
    behavior = Behavior(path)
    assert behavior.number("slots", 8) == 2
    path.write_text("{}")
    os.utime(path, ns=(1, 1))
    assert behavior.number("slots", 8) == 8


def test_a_share_of_all_or_none_strikes_always_or_never() -> None:
    assert all(strikes({"error_ratio": 1.0}, "error_ratio") for _ in range(50))
    assert not any(strikes({}, "error_ratio") for _ in range(50))
