"""Shared fixtures of the device script tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.nvml.scripted import ScriptedHost, played

from foreshock_exporter.script.lines import Script, parse
from foreshock_exporter.script.mock import ScriptDriver
from foreshock_exporter.script.playback import Playback

START = 1_000_000.0
HEADER = '{"foreshock_device_script": 1, "host": "node-1"}'
Write = Callable[..., Script]


class Stage:
    """A script that plays, its driver and its clock, which stands at the start of the script."""

    def __init__(self, script: Script, *, per_link: bool = False) -> None:
        self.time = START
        self.start = START
        self.playback = Playback(script, START)
        self.driver = ScriptDriver(self.playback, self.now, per_link=per_link)
        self.resolver = self.driver.service

    def now(self) -> float:
        return self.time

    def to(self, seconds: float) -> ScriptDriver:
        """Go to a time after the start."""
        self.time = START + seconds
        return self.driver

    def at(self, seconds: float) -> ScriptedHost:
        """All values at a time after the start."""
        return played(self.playback, START + seconds)

    def us(self, seconds: float) -> int:
        """A time after the start in the driver's clock."""
        return round((START + seconds) * 1e6)


@pytest.fixture
def write() -> Write:
    """A script from its lines, after a header; it has a GPU 0 like an H100 unless it describes its own."""

    def written(*lines: str, gpu: bool = True, header: str = HEADER) -> Script:
        return parse([header, *(['{"gpu": 0, "device": {}}'] if gpu else []), *lines], "test.jsonl")

    return written


@pytest.fixture
def play(write: Write) -> Callable[..., Stage]:
    """The same, playing."""

    def playing(*lines: str, gpu: bool = True, header: str = HEADER, per_link: bool = False) -> Stage:
        return Stage(write(*lines, gpu=gpu, header=header), per_link=per_link)

    return playing
