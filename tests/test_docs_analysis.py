"""docs/internals/analysis.md names the figures of the code, with the values that they have."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from foreshock_dashboard.analysis.baseline import excess
from foreshock_dashboard.analysis.baseline.signals import SIGNALS
from foreshock_dashboard.analysis.detectors import registry

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "internals" / "analysis.md").read_text(encoding="utf-8")
NUMBER = r"-?\d+(?:\.\d+)?"
STATED = re.compile(rf"`([A-Z][A-Z_]*)`\s+=\s+({NUMBER}(?:\s+[±/]\s+{NUMBER})*)")
"""`NAME` = 1.2 or, of a pair or a triple, 1.2 ± 0.04 or 0.8 / 0.7."""
UNSAID = {
    "BISECTION_STEPS",
    "DECIDED_RATIO",
    "FIRST_LOOKBACK_POINTS",
    "MAX_CALLER_LAYERS",
    "MAX_GROWTH_RATIO",
    "MAX_OUTAGE_SECONDS",
    "MAX_SEVERITY",
    "MAX_SLOWDOWN_RATIO",
    "MEDIAN_INDEX",
    "MINUTE",
    "NEGLIGIBLE_GRADIENT_RATIO",
    "NEGLIGIBLE_MASS",
    "NO_GROWTH",
    "STEPS_PER_TIMEOUT",
}
"""Bounds of loops and of what is shown, what follows from others, and what only saves time."""
WRITTEN_OUT = "`ERROR_RATE_WEIGHT` = ln 2 / 0.05"


class Section(NamedTuple):
    """A chapter of the document, and the modules that it says it is about."""

    title: str
    text: str
    modules: tuple[ModuleType, ...]


def sections() -> Iterator[Section]:
    """Those with a line `Code: …`."""
    for chapter in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        if result := re.search(r"^Code: (.+?)\n\n", chapter, re.MULTILINE | re.DOTALL):
            names = re.findall(r"`([\w/]+)\.py`", result[1])
            modules = tuple(import_module(f"foreshock_dashboard.{name.replace('/', '.')}") for name in names)
            yield Section(chapter.splitlines()[0], chapter, modules)


def numbers(value: object) -> tuple[float, ...]:
    """A constant as a tuple; empty for what is none of numbers."""
    parts = value if isinstance(value, tuple) else (value,)
    result = all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts)
    return tuple(map(float, parts)) if result else ()


def own_constants(module: ModuleType) -> dict[str, tuple[float, ...]]:
    """The numbers that a module itself names at its top level."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    names: set[str] = set()
    for line in re.findall(r"^([A-Z][A-Z_, ]*)(?:: [^=]+)? = ", source, re.MULTILINE):
        names.update(line.split(", "))
    return {name: result for name in sorted(names) if (result := numbers(getattr(module, name)))}


UNPLOTTED = ("Changes", "Load imbalance", "Hardware", "Client timeouts", "Root causes in any metrics")
"""No scenario that comes along has such a fault; the last one is about metrics of other platforms."""
SECTIONS = tuple(sections())


def stated(section: Section) -> set[tuple[str, tuple[float, ...]]]:
    """Names and values in a chapter."""
    text = section.text.replace(WRITTEN_OUT, "")
    return {(name, tuple(map(float, re.findall(NUMBER, value)))) for name, value in STATED.findall(text)}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_every_figure_in_the_text_is_the_one_in_the_code(section: Section) -> None:
    """A name and a value belong to one of the modules that the chapter is about."""
    known = {item for module in section.modules for item in own_constants(module).items()}

    assert stated(section)
    assert stated(section) - known == set()


@pytest.mark.parametrize("module", sorted({each for part in SECTIONS for each in part.modules}, key=str), ids=str)
def test_no_figure_of_the_code_is_kept_from_the_reader(module: ModuleType) -> None:
    """Whatever a module decides by is in a chapter about it."""
    result = {item for section in SECTIONS if module in section.modules for item in stated(section)}
    own = {(name, value) for name, value in own_constants(module).items() if name not in UNSAID}

    assert {
        (name, value)
        for name, value in own - result
        if (name, value) != ("ERROR_RATE_WEIGHT", (excess.ERROR_RATE_WEIGHT,))
    } == set()


def test_a_figure_that_is_a_formula_is_written_as_one() -> None:
    """Five failures in a hundred weigh as much as twice the time."""
    assert WRITTEN_OUT in TEXT
    assert math.isclose(excess.ERROR_RATE_WEIGHT, math.log(2) / 0.05)


def test_every_detector_has_a_chapter() -> None:
    """By the module that it is in."""
    result = {module.__name__ for section in SECTIONS for module in section.modules}

    assert {detect.__module__ for detect in registry.DETECTORS} - result == set()


def signals_table() -> str:
    """The table of what is compared with its baseline, as the document has it."""
    ways = {1: "more is worse", -1: "less is worse", 0: "load signal"}
    rows = [
        f"| `{each.name}` | {each.text} | {each.unit} | {'ratio' if each.log else 'difference'} | {each.floor:g} | "
        f"{ways[each.worse]} |"
        for each in SIGNALS
    ]
    return "\n".join(["| signal | what it is | unit | compared as | floor | |", "|---|---|---|---|---|---|", *rows])


def test_every_signal_is_listed_with_its_floor() -> None:
    """As the table of the code has it."""
    assert signals_table() in TEXT


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.title)
def test_every_signal_has_a_plot_where_a_scenario_shows_it(section: Section) -> None:
    """An on-call engineer can argue with a picture."""
    assert ("![" in section.text) == (section.title not in UNPLOTTED)


def test_plots_are_small_and_all_are_shown() -> None:
    """Each file is in the document, and loads at once."""
    plots = sorted((ROOT / "docs" / "internals" / "analysis").glob("*.svg"))

    assert plots
    assert [plot.name for plot in plots if f"(analysis/{plot.name})" not in TEXT] == []
    assert [plot.name for plot in plots if plot.stat().st_size >= 60_000] == []
