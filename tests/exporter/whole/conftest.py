"""Shared fixtures of the whole-exporter tests: all kinds of hosts, and live scripts."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from types import ModuleType

import pytest
from tests.exporter.web.conftest import authority, config, folder, hashed, prometheus
from tests.nvml import layout
from tests.nvml.conftest import double, nvml, nvml_library
from tests.nvml.double import Double
from tests.nvml.profiles import PROFILES, START
from tests.nvml.scene import At, Scene
from tests.nvml.scripted import ScriptedHost, played

from foreshock_exporter.script.events import Event
from foreshock_exporter.script.files import BUILT_IN, load_script
from foreshock_exporter.script.lines import Header, LineReader, Script
from foreshock_exporter.script.playback import Playback

__all__ = ("authority", "config", "double", "folder", "hashed", "nvml", "nvml_library", "prometheus")

HOSTS = (*PROFILES, *BUILT_IN)
"""The profiles of GPUs and the built-in scripts."""

HostOf = Callable[..., Scene]


@pytest.fixture
def host_of(nvml: ModuleType, double: Double) -> Iterator[HostOf]:
    """Make the scene of a profile or of a built-in script, by name."""
    made: list[Scene] = []

    def make(name: str, *, per_link: bool = False) -> Scene:
        at, start = _script(name)
        double.dialects = (PROFILES[name].dialect,) * layout.MAX_GPUS if name in PROFILES else ()
        made.append(Scene(nvml, double, at, start, per_link=per_link))
        return made[-1]

    yield make
    for scene in made:
        scene.exporter.close()


def _script(name: str) -> tuple[At, float]:
    if name in PROFILES:
        return PROFILES[name].at, START + 20.0
    return falling(partial(played, Playback(load_script(name), START))), START


def falling(at: At) -> At:
    """As the fixture above, with hung GPUs lost instead: in the test's thread a hung call would never return."""

    def fallen(time: float) -> ScriptedHost:
        host = at(time)
        gpus = (replace(gpu, fault="lost") if gpu.fault == "hang" else gpu for gpu in host.gpus)
        return replace(host, gpus=tuple(gpus))

    return fallen


def script_of(lines: Sequence[dict[str, object]], *, loop: float | None = None) -> Script:
    """A device script from the objects of its lines, without the first."""
    reader, events = _reader(), []
    for line in lines:
        event = reader.read(json.dumps(line))
        assert isinstance(event, Event)
        events.append(event)
    return Script(Header(loop=loop), tuple(sorted(events, key=lambda event: event.at)))


class LiveScriptFile:
    """Live device script that starts now."""

    def __init__(self, *lines: dict[str, object]) -> None:
        self._reader = _reader()
        self._began = time.time()
        self.playback = Playback(Script(Header(), ()), self._began)
        self.add(*lines)

    def add(self, *lines: dict[str, object]) -> None:
        """Add events at the current time."""
        for line in lines:
            event = self._reader.read(json.dumps(line), time.time() - self._began)
            assert isinstance(event, Event)
            self.playback.feed(event)


def _reader() -> LineReader:
    reader = LineReader("test", live=True)
    reader.read('{"foreshock_device_script": 1}')
    return reader
