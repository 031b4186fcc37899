"""The NVML double for a test: compiled once, with its own state file and journal."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.nvml import layout
from tests.nvml.double import VARIABLE, Double, compile_library
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scene import Scene, SceneOf
from tests.nvml.scripted import ScriptedHost


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    return compile_library(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def double(nvml_library: Path, tmp_path: Path) -> Iterator[Double]:
    """A double without GPUs; a test shows it a host. Fails afterwards where a handle that had failed was used again."""
    double = Double(nvml_library, tmp_path / "nvml.state")
    double.show(ScriptedHost(0.0, ()))
    yield double
    double.show(ScriptedHost(0.0, ()))
    misused = double.misused()
    double.close()
    assert not misused, f"{misused}: with a handle that had failed or that NVML never gave, or a shutdown under a call"


@pytest.fixture
def nvml(double: Double, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The real pynvml of this process, over the double."""
    monkeypatch.setenv(VARIABLE, str(double.path))
    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(double.library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    yield pynvml
    while True:
        try:
            pynvml.nvmlShutdown()
        except pynvml.NVMLError:
            break


@pytest.fixture
def scene_of(nvml: ModuleType, double: Double) -> Iterator[SceneOf]:
    """Make a scene of a profile, twenty seconds after its start."""
    made: list[Scene] = []

    def make(profile: str, *, per_link: bool = False) -> Scene:
        double.dialects = (PROFILES[profile].dialect,) * layout.MAX_GPUS
        made.append(Scene(nvml, double, PROFILES[profile].at, START + 20.0, per_link=per_link))
        return made[-1]

    yield make
    for scene in made:
        scene.exporter.close()
