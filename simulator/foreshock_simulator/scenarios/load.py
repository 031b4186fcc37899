"""Loads scenarios by name or from a file, on a platform of a given size."""

from __future__ import annotations

from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import get_args

import yaml

from foreshock_simulator.scenarios import drawn
from foreshock_simulator.scenarios.adjust import adjust
from foreshock_simulator.scenarios.parsing.document import Problems, ScenarioError, alternatives, compose, line
from foreshock_simulator.scenarios.parsing.reader import Reader, Unreadable
from foreshock_simulator.scenarios.platforms.topology import Size, generate
from foreshock_simulator.scenarios.validation.faults import check_expectation, check_faults
from foreshock_simulator.scenarios.validation.platform import check_platform
from foreshock_simulator.spec.platform import PlatformSpec
from foreshock_simulator.spec.scenario import ScenarioFile, ScenarioSpec

_FOLDER = files("foreshock_simulator.scenarios")


def names() -> tuple[str, ...]:
    """Names of the scenarios in the package, sorted."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml")))


def load(path_or_name: str | Path, size: str = "", seed: int = 1) -> ScenarioSpec:
    """Load a scenario of the package by name, one that the seed draws (`random`), or a scenario file.

    Args:
        path_or_name: with the suffix .yaml or .yml, or with a folder, it is a file.
        size: of the platform, unless the file has one written out; "" for `default_size`.
        seed: of the generated platform.

    Raises:
        ScenarioError: unknown or invalid scenario; the message has lines `FILE:LINE: problem; remedy`.
    """
    size = size or default_size(path_or_name, seed)
    if size not in get_args(Size):
        raise ScenarioError(f"there is no size {size!r}; {alternatives(size, get_args(Size))}")
    file, text = source(str(path_or_name), seed)
    return parse(text, file, size, seed)  # type: ignore[arg-type]


def default_size(path_or_name: str | Path, seed: int) -> Size:
    """Size of the platform of a scenario: drawn by the seed for `random`, else small."""
    return drawn.draw(seed).size if str(path_or_name) == drawn.NAME else "small"


def parse(text: str, file: str, size: Size = "small", seed: int = 1) -> ScenarioSpec:
    """Parse the text of a scenario file with this name.

    Raises:
        ScenarioError: see `load`.
    """
    problems = Problems(file)
    root = compose(text, problems)
    problems.raise_if_any()
    assert root is not None  # noqa: S101 - else there was a problem
    reader = Reader(problems)
    changes = _pop(root, "adjust")
    try:
        values, lines = reader.fields(root, ScenarioFile, "the scenario")
    except Unreadable:
        values, lines = {}, {}
    if "description" not in lines and problems.count == 0:
        problems.add(line(root), "the scenario has no 'description'", "add 'description: a sentence'")
    file_values = ScenarioFile(**{"description": "", **values})
    platform = _platform(file_values, lines, changes, reader, size, seed)
    if platform is not None:
        check_faults(platform, file_values.faults, file_values.duration, reader)
        if problems.count == 0:  # else the root cause may be in an unreadable part
            check_expectation(platform, file_values.faults, file_values.expects, reader)
    problems.raise_if_any()
    assert platform is not None  # noqa: S101 - else there was a problem
    name = Path(file).name.removesuffix(".yaml").removesuffix(".yml")
    return ScenarioSpec(
        name, file_values.description, platform, file_values.faults, file_values.expects, file_values.duration
    )


def _platform(
    file_values: ScenarioFile, lines: dict[str, int], changes: yaml.Node | None, reader: Reader, size: Size, seed: int
) -> PlatformSpec | None:
    """The platform: written out, or generated and adjusted; None with problems."""
    problems_before = reader.problems.count
    if "platform" in lines:
        if changes is not None or "topology" in lines:
            reader.problems.add(
                lines.get("topology") or (line(changes) if changes else 1),
                "there is a platform and what changes a generated one",
                "drop 'topology' and 'adjust'",
            )
        platform = file_values.platform
    else:
        platform = generate(size, seed, file_values.topology)
        if changes is not None:
            reader.default_line = line(changes)
            with suppress(Unreadable):
                platform = adjust(platform, changes, reader)
    if platform is not None and reader.problems.count == problems_before:
        check_platform(platform, reader)
    return platform if reader.problems.count == problems_before else None


def _pop(root: yaml.Node, name: str) -> yaml.Node | None:
    """Remove a key from the root, and return its value."""
    if not isinstance(root, yaml.MappingNode):
        return None
    for pair in root.value:
        if isinstance(pair[0], yaml.ScalarNode) and pair[0].value == name:
            root.value.remove(pair)
            value: yaml.Node = pair[1]
            return value
    return None


def source(path_or_name: str, seed: int) -> tuple[str, str]:
    """File name and text of a scenario.

    Raises:
        ScenarioError: unknown scenario, or a file that cannot be read.
    """
    if path_or_name == drawn.NAME:
        return f"{drawn.NAME}.yaml", drawn.draw(seed).text
    if path_or_name in names():
        return f"{path_or_name}.yaml", _FOLDER.joinpath(f"{path_or_name}.yaml").read_text(encoding="utf-8")
    path = Path(path_or_name)
    if path.suffix not in (".yaml", ".yml") and path.name == path_or_name:
        known = (*names(), drawn.NAME)
        raise ScenarioError(f"there is no scenario {path_or_name!r}; {alternatives(path_or_name, known)}")
    try:
        return path_or_name, path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ScenarioError(f"{path_or_name}:1: cannot be read: {reason}; give the path of a YAML file") from None
