"""docs/internals/scenarios.md describes the schema."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from foreshock_simulator.scenarios.load import parse
from foreshock_simulator.scenarios.parsing.quantities import QUANTITIES
from foreshock_simulator.scenarios.parsing.reader import tag
from foreshock_simulator.spec.faults import Fault
from foreshock_simulator.spec.platform import Topology
from foreshock_simulator.spec.scenario import Cause, Expectation, ScenarioFile
from foreshock_simulator.spec.services import ModelSpec, Step

DOCUMENT = (Path(__file__).parents[3] / "docs" / "internals" / "scenarios.md").read_text()
EXAMPLES = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_are_scenarios(example: str) -> None:
    """Without changes, except for the missing description of a platform example."""
    text = example if "description:" in example else "description: An example.\n" + example

    assert parse(text, "example.yaml").platform.services


@pytest.mark.parametrize("fault", get_args(Fault), ids=tag)
def test_every_fault_is_described_with_its_fields(fault: type) -> None:
    """`at` and `duration`, common to all, are described above the table."""
    (row,) = re.findall(rf"^\| `{tag(fault)}` \| (.*) \|$", DOCUMENT, re.MULTILINE)
    own = {item.name for item in fields(fault)} - {"at", "duration"}

    assert {name for name in own if f"`{name}`" not in row} == set()


@pytest.mark.parametrize("cls", [ScenarioFile, Topology, Expectation], ids=lambda cls: cls.__name__)
def test_every_key_is_described(cls: type) -> None:
    """Keys of the file, of `topology`, of `expects`."""
    assert [item.name for item in fields(cls) if f"`{item.name}`" not in DOCUMENT] == []


def test_all_choices_are_described() -> None:
    """Causes, steps, models."""
    words = [*get_args(Cause), *(tag(cls) for cls in (*get_args(Step), *get_args(ModelSpec)))]

    assert [word for word in words if f"`{word}`" not in DOCUMENT] == []


def test_defaults_are_those_of_the_code() -> None:
    """Defaults of `topology`."""
    for item in fields(Topology):
        (default,) = re.findall(rf"^\| `{item.name}` \| .* \| (\S+) \|$", DOCUMENT, re.MULTILINE)

        if isinstance(item.default, bool):
            assert default == str(item.default).lower()
        else:
            assert QUANTITIES[item.name].read(default) == item.default
