"""Recordings of the laboratory as runs of an evaluation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from foreshock_dashboard.model.service import Service
from foreshock_evaluation.command import main
from foreshock_evaluation.suites.lab import KEPT, lab_runs
from foreshock_lab.campaign.plan import HELD_OUT_SEED

TRUTH = {
    "root_cause": "shop/cart",
    "also_right": [],
    "kind": "cpu-limit",
    "strength": 2,
    "seed": 11,
    "topology": "shop-11",
    "develops_seconds": 180.0,
    "lookalike": False,
}


def write(folder: Path, **changes: Any) -> None:  # noqa: ANN401 - fields of all types
    """A recording with only its truth."""
    folder.mkdir(parents=True)
    (folder / "meta.json").write_text("{}")
    (folder / "truth.json").write_bytes(orjson.dumps(TRUTH | changes))


@pytest.mark.parametrize(
    ("changes", "right", "edge"),
    [
        ({}, {"shop/cart"}, None),
        ({"also_right": ["postgres"]}, {"shop/cart", "postgres"}, None),
        (
            {"root_cause": "shop/front -> shop/cart"},
            {"shop/front", "shop/cart"},
            (Service("shop", "front"), Service("shop", "cart")),
        ),
        ({"root_cause": None, "lookalike": True}, set(), None),
    ],
    ids=["service", "service or store", "path", "look-alike"],
)
def test_a_root_cause_is_a_service_or_a_path(
    changes: dict[str, Any], right: set[str], edge: tuple[Service, Service] | None, tmp_path: Path
) -> None:
    write(tmp_path / "one", **changes)

    (found,) = lab_runs(tmp_path)

    assert found.expected.root_causes == frozenset(map(Service.parse, right))
    assert (found.expected.edge, found.expected.cascade) == (edge, bool(right))


def test_recordings_lie_at_any_depth_and_can_be_restricted(tmp_path: Path) -> None:
    """By seed and by kind; the strengths of a kind are runs of one scenario with names of their own."""
    write(tmp_path / "dev" / "a")
    write(tmp_path / "dev" / "b", strength=3)
    write(tmp_path / "heldout" / "c", seed=101, topology="shop-101", kind="hang", develops_seconds=0.0)
    (tmp_path / "dev" / "unfinished").mkdir()

    names = {found.run.name: found.is_instant for found in lab_runs(tmp_path)}

    assert names == {"shop-11-cpu-limit-2": False, "shop-11-cpu-limit-3": False, "shop-101-hang-2": True}
    assert [found.run.seed for found in lab_runs(tmp_path, seeds=["101"])] == [101]
    assert [found.run.strength for found in lab_runs(tmp_path, kinds=["cpu-limit"])] == [2, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--recordings", "empty"], "--recordings: empty has no such recording of the laboratory"),
        (["--recordings", "broken"], "the ground truth cannot be used: 'seed'"),
    ],
)
def test_a_folder_without_usable_recordings_is_refused(
    words: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "broken" / "a")
    (tmp_path / "broken" / "a" / "truth.json").write_text('{"root_cause": null, "also_right": []}')
    monkeypatch.chdir(tmp_path)

    assert main(["--suite", "lab", *words]) == 2
    assert message in capsys.readouterr().err


def test_without_a_folder_the_recordings_of_the_repository_are_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installed package lacks them."""
    monkeypatch.setitem(KEPT, "lab", tmp_path / "absent")
    assert main(["--suite", "lab"]) == 2
    assert "only the repository has its recordings" in capsys.readouterr().err
    monkeypatch.undo()

    for suite, held_out in (("lab", False), ("lab-heldout", True)):
        runs = lab_runs(KEPT[suite])
        assert runs
        assert {found.run.seed >= HELD_OUT_SEED for found in runs} == {held_out}
