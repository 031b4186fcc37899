"""A real exporter over real pynvml over the double, with a clock that the test advances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Protocol

from prometheus_client.parser import text_string_to_metric_families
from tests.nvml.double import Double
from tests.nvml.scripted import ScriptedHost

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.model.service import AttributedService
from foreshock_exporter.nvml import Library, NvmlDriver

At = Callable[[float], ScriptedHost]
FAST = 0.1
"""Seconds between two passes."""


class Scene:
    """Shows a script to the double and samples the exporter, in turn.

    Args:
        nvml: pynvml over the double.
        at: script as a function of time in Unix seconds; replaceable.
        time: start time.
        per_link: whether the exporter collects each NVLink.
    """

    def __init__(self, nvml: ModuleType, double: Double, at: At, time: float, *, per_link: bool = False) -> None:
        self.double = double
        self.at = at
        self.time = time
        self._shown = at(time)
        self.driver = NvmlDriver(Library(nvml, timer=self.now), per_link=per_link)
        self.exporter = Exporter(
            self.driver, self.resolve, host_id="1", host_name="host", now=self.now, timer=lambda: 0.0
        )

    def now(self) -> float:
        """The clock of everything here."""
        return self.time

    def run(self, seconds: float, period: float = FAST) -> None:
        """Go on for so long."""
        end = self.time + seconds
        while self.time < end - period / 2:
            self.time = round(self.time + period, 6)
            self._shown = self.at(self.time)
            self.double.show(self._shown)
            self.exporter.sample()

    def scrape(self) -> dict[str, Any]:
        """Current exposition."""
        return read(self.exporter.render())

    def resolve(self, pid: int) -> AttributedService | None:
        """By the names of the script."""
        for gpu in self._shown.gpus:
            for process in gpu.processes:
                if process.pid == pid:
                    return AttributedService(*process.service, "simulated", mps=process.says)
        return None


def read(text: bytes) -> dict[str, Any]:
    """Exposition text by family and labels: {name: {(label values in order of their names): value}}."""
    found: dict[str, Any] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = tuple(value for _, value in sorted(sample.labels.items()))
            found.setdefault(sample.name, {})[key] = sample.value
    return found


def total(series: Mapping[tuple[str, ...], float]) -> float:
    """The sum over all series of a family."""
    return sum(series.values())


class SceneOf(Protocol):
    """Makes a scene of a profile; the type of a fixture."""

    def __call__(self, profile: str, *, per_link: bool = False) -> Scene:
        """The scene, twenty seconds after the profile's start."""
        ...
