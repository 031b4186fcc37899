"""Shared fixtures: the double of the kernel, and the driver over it with a clock of the test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.drm.double import MI300X, KernelDouble

from foreshock_exporter.drm import DrmDriver
from foreshock_exporter.drm.cards import Vendor


@dataclass
class Clock:
    time: float = 1000.0

    def now(self) -> float:
        return self.time


@dataclass
class Bench:
    """A host with its driver; `driver.count()` finds its GPUs."""

    kernel: KernelDouble
    clock: Clock = field(default_factory=Clock)
    modes: dict[Vendor, str] = field(default_factory=lambda: {"AMD": "auto", "Intel": "auto"})

    def __post_init__(self) -> None:
        self.driver = DrmDriver(self.kernel.sysfs, self.kernel.procfs, self.modes, host_id="host-1", now=self.clock.now)


@pytest.fixture
def kernel(tmp_path: Path) -> KernelDouble:
    """A host without GPUs."""
    return KernelDouble(tmp_path)


@pytest.fixture
def bench(kernel: KernelDouble) -> Iterator[Bench]:
    """A host with one Instinct MI300X."""
    kernel.gpu(MI300X)
    kernel.node()
    bench = Bench(kernel)
    bench.driver.count()
    bench.driver.identity(0)
    yield bench
    bench.driver.close()
