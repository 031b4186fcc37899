"""The sample of `make mutation` leaves out what no test of behavior can see, and nothing else."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parent.parent / "scripts/testing/mutants.py"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script as a module. Cosmic Ray is in the environment of `make mutation` only, and is not needed here."""
    plugins, mutating = ModuleType("cosmic_ray.plugins"), ModuleType("cosmic_ray.mutating")
    vars(plugins)["operator_names"] = list
    vars(mutating)["mutate_code"] = None
    for module in (ModuleType("cosmic_ray"), ModuleType("cosmic_ray.ast"), plugins, mutating):
        monkeypatch.setitem(sys.modules, module.__name__, module)
        parent, _, name = module.__name__.rpartition(".")
        if parent:
            monkeypatch.setattr(sys.modules[parent], name, module, raising=False)
    spec = importlib.util.spec_from_file_location("mutants", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a is None", "a == None"),
        ("a is not None", "a != None"),
        ("a is Color.RED", "a == Color.RED"),
        ("len(a) == 24", "len(a) is 24"),
        ("len(a) > 0", "len(a) != 0"),
        ("len(a) > 0", "len(a) >= 1"),
        ("len(a) < 1", "len(a) <= 0"),
        ("a << 7 | b & 0x7F", "a << 7 ^ b & 0x7F"),
        ("lru_cache(maxsize=8)", "lru_cache(maxsize=9)"),
        ("def f(a: int) -> int: pass", "def f(a, /): pass"),
        ("log.info('a')", "log.info('b')"),
        ("A = 4096", "A = 4097"),
    ],
)
def test_a_change_of_no_result_is_no_mutant(script: ModuleType, source: str, changed: str) -> None:
    assert script.visible(source, {"Color"}) == script.visible(changed, {"Color"})


@pytest.mark.parametrize(
    ("source", "changed"),
    [
        ("a is None", "a is not None"),
        ("a is None", "a != None"),
        ("a is True", "a == True"),
        ("a is Level.HIGH", "a == Level.HIGH"),
        ("len(a) == 300", "len(a) is 300"),
        ("a == 24", "a is 24"),
        ("len(a) > 0", "len(a) >= 0"),
        ("len(a) > 1", "len(a) != 1"),
        ("a << 6 | b & 0x7F", "a << 6 ^ b & 0x7F"),
        ("a << 7 | b", "a << 7 ^ b"),
        ("Queue(maxsize=8)", "Queue(maxsize=9)"),
        ("A = 4", "A = 5"),
    ],
)
def test_a_change_that_may_have_another_result_is_a_mutant(script: ModuleType, source: str, changed: str) -> None:
    assert script.visible(source, {"Color"}) != script.visible(changed, {"Color"})


def test_only_enumerations_that_compare_by_identity_count(script: ModuleType) -> None:
    """A member of another one equals a number or a text."""
    source = """
class Plain(Enum): A = 1
class Number(IntEnum): A = 1
class Text(str, Enum): A = "a"
class Own(Enum):
    def __eq__(self, other): return True
"""
    assert script.enumerations([source]) == {"Plain"}
