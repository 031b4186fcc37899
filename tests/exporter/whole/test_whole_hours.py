"""Eight hours of churn in compressed time: memory and series stay bounded."""

from __future__ import annotations

import gc
import logging
import math
import re
import resource
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from tests.exporter.whole.conftest import script_of
from tests.exporter.whole.exposition import series_by_gpu
from tests.nvml.double import Double
from tests.nvml.profiles import START
from tests.nvml.scene import Scene
from tests.nvml.scripted import played

from foreshock_exporter.common.log import log
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition import text_format as text_module
from foreshock_exporter.gpu.collector import GpuOptions
from foreshock_exporter.gpu.limits import RESOURCES
from foreshock_exporter.gpu.occupancy import Observation, OccupancyTracker
from foreshock_exporter.gpu.tenants import EXPIRE_AFTER_SECONDS
from foreshock_exporter.script.mock import ScriptDriver
from foreshock_exporter.script.playback import Playback

HOUR = 3600.0
HOURS = 8
GPUS = 2
SERVICES = 200
"""Different services in eight hours, each on one GPU."""
EVERY = HOURS * HOUR / SERVICES
"""Seconds after which the next one comes."""
STAYS = 3.5 * EVERY
"""Seconds for which it stays, so that up to four are there at once, on two GPUs."""
LOST_EVERY, LOST_FOR = 1200.0, 60.0
BLOCKS = 500
"""Blocks of memory by which Python may hold more at the end of the eighth hour than at that of the first.

Between the two, 175 services and 350 processes come and go: to keep four objects of each would be more than this.
"""
RESIDENT_GROWTH = 4 << 20
"""Bytes by which the process may have grown: what Python holds, and what its allocator could not give back."""
MOST_OF_A_GPU = 90
"""Series besides those of services: 85 with activity, shared resources, and errors of two kinds."""
MOST_SERVICES = math.ceil((STAYS + EXPIRE_AFTER_SECONDS) / (EVERY * GPUS)) + 1
"""With one GPU: those that are on it, or were in the last quarter of an hour."""


def day() -> Iterator[dict[str, object]]:
    """The lines of the script: services come and go, each with a different pid; GPUs are lost and come back."""
    for gpu in range(GPUS):
        yield {"gpu": gpu, "device": {"uuid": f"GPU-{gpu}"}}
    events: list[dict[str, object]] = []
    for number in range(SERVICES):
        gpu, pid = number % GPUS, 1000 + number
        comes = {"pid": pid, "service": f"team-{number % 7}/service-{number}", "memory_bytes": 1e9, "sm": 0.5}
        events.append({"at": number * EVERY, "gpu": gpu, "process": comes})
        again = {"pid": pid + 10_000, "service": comes["service"], "memory_bytes": 2e9, "sm": 0.45}
        events.append({"at": number * EVERY + STAYS / 2, "gpu": gpu, "process": {"pid": pid, "ends": True}})
        events.append({"at": number * EVERY + STAYS / 2, "gpu": gpu, "process": again})
        events.append({"at": number * EVERY + STAYS, "gpu": gpu, "process": {"pid": pid + 10_000, "ends": True}})
    for number in range(1, int(HOURS * HOUR / LOST_EVERY)):
        at, gpu = number * LOST_EVERY, number % GPUS
        events.append({"at": at, "gpu": gpu, "xid": (79, 31)[number // GPUS % 2]})
        events.append({"at": at, "gpu": gpu, "fault": "lost"})
        events.append({"at": at + LOST_FOR, "gpu": gpu, "clear": True})
    yield from sorted(events, key=lambda event: float(str(event["at"])))


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Log records are kept for test reports and would count as memory of the exporter."""
    caplog.set_level(logging.CRITICAL, log.name)


class Held(NamedTuple):
    """What is held at one moment: blocks of Python's allocator, and bytes of the process."""

    blocks: int
    resident: int


def held() -> Held:
    """Memory held now, after the cache of label texts is cleared; its bound has its own test."""
    text_module._prefix_cache.cache_clear()
    gc.collect()
    with Path("/proc/self/statm").open() as file:
        pages = int(file.read().split()[1])
    return Held(sys.getallocatedblocks(), pages * resource.getpagesize())


class Day:
    """Exporter over NVML's ABI that runs the script, with a record every ten minutes."""

    def __init__(self, nvml: ModuleType, double: Double) -> None:
        self.spans = 0
        self.services: set[int] = set()
        self._occupancies = OccupancyTracker()
        playback = Playback(script_of(tuple(day())), START)
        self._scene = Scene(nvml, double, partial(played, playback), START)
        self._scene.exporter = Exporter(
            self._scene.driver,
            ScriptDriver(playback, self._scene.now).service,
            GpuOptions(observe=self._observe),
            host_id="1",
            host_name="host",
            now=self._scene.now,
            timer=lambda: 0.0,
        )

    def _observe(self, observation: Observation) -> None:
        """As a push over OTLP does."""
        self.spans += len(self._occupancies.observe(observation))

    def live(self, period: float) -> list[Held]:
        """Through all hours with a pass each `period` seconds; what is held at the end of each."""
        found = []
        for _ in range(HOURS):
            for _ in range(6):
                self._scene.run(HOUR / 6, period)
                self._look()
            found.append(held())
        self._scene.exporter.close()
        return found

    def _look(self) -> None:
        text = self._scene.exporter.render()
        self._scene.exporter.render(openmetrics=True)
        for series in series_by_gpu(text).values():
            assert series.itself <= MOST_OF_A_GPU, series
            assert series.services <= MOST_SERVICES, series
            assert series.of_services <= (4 + len(RESOURCES)) * series.services, series
            assert series.pairs <= series.services**2, series
        # Python holds small integers anyway: what is measured is not what the test remembers.
        self.services |= {int(number) for number in re.findall(r'service_name="service-(\d+)"', text.decode())}


def flat(nvml: ModuleType, double: Double, period: float) -> None:
    """Eight hours that leave nothing behind."""
    day = Day(nvml, double)
    first, *_, last = after = day.live(period)
    assert last.blocks - first.blocks < BLOCKS, after
    assert last.resident - first.resident < RESIDENT_GROWTH, after
    assert len(day.services) == SERVICES, "each was seen"
    assert day.spans > SERVICES, "they were active together"


@pytest.mark.soak
def test_eight_hours_leave_neither_memory_nor_series_behind(nvml: ModuleType, double: Double) -> None:
    """At a pass each ten seconds, the most for which the driver keeps samples."""
    flat(nvml, double, 10.0)


@pytest.mark.soak
def test_eight_hours_at_a_pass_each_second_leave_neither_memory_nor_series_behind(
    nvml: ModuleType, double: Double
) -> None:
    flat(nvml, double, 1.0)
