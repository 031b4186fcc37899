"""A scenario by its name or from a file, on a platform of the size that is asked for."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import get_args

import yaml

from foreshock_simulator.scenarios.adjust import adjust
from foreshock_simulator.scenarios.parsing.document import compose, line
from foreshock_simulator.scenarios.parsing.problems import Problems, ScenarioError, alternatives
from foreshock_simulator.scenarios.parsing.reader import Reader
from foreshock_simulator.scenarios.parsing.values import Unreadable
from foreshock_simulator.scenarios.platforms.topology import Size, generate
from foreshock_simulator.scenarios.validation.faults import check_expectation, check_faults
from foreshock_simulator.scenarios.validation.platform import check_platform
from foreshock_simulator.spec.scenario import PlatformSpec, ScenarioFile, ScenarioSpec

_FOLDER = files("foreshock_simulator.scenarios")


def names() -> tuple[str, ...]:
    """The scenarios that come with the package, in alphabetical order."""
    return tuple(sorted(item.name.removesuffix(".yaml") for item in _FOLDER.iterdir() if item.name.endswith(".yaml")))


def load(path_or_name: str | Path, size: str = "small", seed: int = 1) -> ScenarioSpec:
    """A scenario, by the name of one that comes with the package or from a file.

    Args:
        path_or_name: what ends in .yaml or .yml or has a folder in it is a file.
        size: of the platform, unless the file has one written out.
        seed: of the platform that is generated.

    Raises:
        ScenarioError: there is no such scenario, or what is in it is wrong: a line `FILE:LINE: what; remedy` each.
    """
    if size not in get_args(Size):
        raise ScenarioError(f"there is no size {size!r}; {alternatives(size, get_args(Size))}")
    file, text = _text(str(path_or_name))
    return parse(text, file, size, seed)  # type: ignore[arg-type]


def parse(text: str, file: str, size: Size = "small", seed: int = 1) -> ScenarioSpec:
    """A scenario from the text of a file of that name.

    Raises:
        ScenarioError: see `load`.
    """
    problems = Problems(file)
    root = compose(text, problems)
    problems.complain()
    assert root is not None  # noqa: S101 - or there was a problem
    reader = Reader(problems)
    changes = _taken_out(root, "adjust")
    try:
        given, where = reader.fields(root, ScenarioFile, "the scenario")
    except Unreadable:
        given, where = {}, {}
    if "description" not in where and problems.noted == 0:
        problems.add(line(root), "the scenario has no 'description'", "add 'description: a sentence'")
    found = ScenarioFile(**{"description": "", **given})
    platform = _platform(found, where, changes, reader, size, seed)
    if platform is not None:
        check_faults(platform, found.faults, found.duration, reader, problems)
        if problems.noted == 0:  # or the culprit may be in what could not be read
            check_expectation(platform, found.faults, found.expects, reader, problems)
    problems.complain()
    assert platform is not None  # noqa: S101 - or there was a problem
    name = Path(file).name.removesuffix(".yaml").removesuffix(".yml")
    return ScenarioSpec(name, found.description, platform, found.faults, found.expects, found.duration)


def _platform(
    found: ScenarioFile, where: dict[str, int], changes: yaml.Node | None, reader: Reader, size: Size, seed: int
) -> PlatformSpec | None:
    """The platform written out, or one generated and adjusted; None where it is not sound."""
    before = reader.problems.noted
    if "platform" in where:
        if changes is not None or "topology" in where:
            reader.problems.add(
                where.get("topology") or (line(changes) if changes else 1),
                "there is a platform and what changes a generated one",
                "drop 'topology' and 'adjust'",
            )
        platform = found.platform
    else:
        platform = generate(size, seed, found.topology)
        if changes is not None:
            reader.elsewhere = line(changes)
            platform = adjust(platform, changes, reader)
    if platform is not None and reader.problems.noted == before:
        check_platform(platform, reader, reader.problems)
    return platform if reader.problems.noted == before else None


def _taken_out(root: yaml.Node, name: str) -> yaml.Node | None:
    """Take a key and its value out of the root, and give the value."""
    if not isinstance(root, yaml.MappingNode):
        return None
    for pair in root.value:
        if isinstance(pair[0], yaml.ScalarNode) and pair[0].value == name:
            root.value.remove(pair)
            value: yaml.Node = pair[1]
            return value
    return None


def _text(path_or_name: str) -> tuple[str, str]:
    """The file's name and its text."""
    if path_or_name in names():
        return f"{path_or_name}.yaml", _FOLDER.joinpath(f"{path_or_name}.yaml").read_text(encoding="utf-8")
    path = Path(path_or_name)
    if path.suffix not in (".yaml", ".yml") and path.name == path_or_name:
        raise ScenarioError(f"there is no scenario {path_or_name!r}; {alternatives(path_or_name, names())}")
    try:
        return path_or_name, path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ScenarioError(f"{path_or_name}:1: cannot be read: {reason}; give the path of a YAML file") from None
