"""Shared fixtures: a scripted host, and file trees such as /proc."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import pytest
from prometheus_client.parser import text_string_to_metric_families

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.model.device import (
    Activity,
    Counters,
    DeviceError,
    GpuProcess,
    Health,
    Identity,
    Processes,
    ProcessUtilization,
    Reading,
    Sharing,
    UtilizationSample,
    Xid,
)
from foreshock_exporter.model.service import AttributedService

Series = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


@dataclass
class ScriptedGpu:
    """GPU with values, or the error that its calls raise."""

    utilization: float | None = 0.95
    shares: dict[int, float] = field(default_factory=dict)
    memory: dict[int, float | None] = field(default_factory=dict)
    mps_clients: frozenset[int] = frozenset()
    sharing: Sharing = "time-slicing"
    broken: DeviceError | None = None
    broken_processes: DeviceError | None = None
    broken_utilization: DeviceError | None = None
    counters: Counters | DeviceError = field(default_factory=Counters)
    activity: Activity | DeviceError | None = field(default_factory=Activity)
    health: Health | DeviceError = field(default_factory=Health)
    samples: list[UtilizationSample] | None = None
    process_samples: list[ProcessUtilization] | None = None
    asked_since: list[int] = field(default_factory=list)


_Part = TypeVar("_Part")


def _given(answer: _Part | DeviceError) -> _Part:
    if isinstance(answer, DeviceError):
        raise answer
    return answer


@dataclass
class ScriptedHost:
    """A driver, a resolver and a clock in one, all under a test's control."""

    gpus: list[ScriptedGpu]
    time: float = 1000.0
    broken: DeviceError | None = None
    services: dict[int, AttributedService] = field(default_factory=dict)
    reported: list[Xid] = field(default_factory=list)
    closed: bool = False

    def now(self) -> float:
        return self.time

    def resolve(self, pid: int) -> AttributedService | None:
        return self.services.get(pid)

    def count(self) -> int:
        if self.broken:
            raise self.broken
        return len(self.gpus)

    def _answering(self, gpu: int) -> ScriptedGpu:
        broken = self.gpus[gpu].broken
        if broken:
            raise broken
        return self.gpus[gpu]

    def identity(self, gpu: int) -> Identity:
        answering = self._answering(gpu)
        return Identity(str(gpu), f"GPU-{gpu}", "H100", f"0000:{gpu:02x}:00.0", "590.1", "13.0", answering.sharing)

    def read(self, gpu: int) -> Reading:
        return Reading(utilization_ratio=self._answering(gpu).utilization, power_watts=300.0)

    def processes(self, gpu: int) -> Processes:
        answering = self._answering(gpu)
        if answering.broken_processes:
            raise answering.broken_processes
        return Processes(
            tuple(GpuProcess(pid, memory, pid in answering.mps_clients) for pid, memory in answering.memory.items())
        )

    def utilization(self, gpu: int, since_us: int) -> Sequence[UtilizationSample]:
        samples = self._answering(gpu).samples
        if samples is None:
            raise DeviceError("not_supported", "no samples here")
        return [sample for sample in samples if sample.timestamp_us > since_us]

    def counters(self, gpu: int, only: Collection[str] = ()) -> Counters:  # noqa: ARG002 - as the script has them
        return _given(self._answering(gpu).counters)

    def activity(self, gpu: int, instances: Collection[int]) -> Activity | None:  # noqa: ARG002 - the script has them
        return _given(self._answering(gpu).activity)

    def health(self, gpu: int) -> Health:
        return _given(self._answering(gpu).health)

    def xids(self, timeout: float) -> Sequence[Xid]:  # noqa: ARG002 - as the driver has it
        reported, self.reported = self.reported, []
        return reported

    def process_utilization(self, gpu: int, since_us: int) -> Sequence[ProcessUtilization]:
        answering = self._answering(gpu)
        if answering.broken_utilization:
            raise answering.broken_utilization
        answering.asked_since.append(since_us)
        if answering.process_samples is not None:
            return [sample for sample in answering.process_samples if sample.timestamp_us > since_us]
        return [ProcessUtilization(pid, round(self.time * 1e6), share) for pid, share in answering.shares.items()]

    def close(self) -> None:
        self.closed = True

    def exporter(self) -> Exporter:
        return Exporter(self, self.resolve, host_id="id-1", host_name="node-1", now=self.now, timer=lambda: 0.0)


@pytest.fixture
def scripted() -> Callable[..., ScriptedHost]:
    """A host of scripted GPUs; pids from 1 on are services "one", "two" … of namespace "shop"."""
    words = ("zero", "one", "two", "three", "four")

    def host(*gpus: ScriptedGpu) -> ScriptedHost:
        services = {pid: AttributedService("shop", word, "otel") for pid, word in enumerate(words) if pid}
        return ScriptedHost(list(gpus), services=services)

    return host


@pytest.fixture
def gpu() -> type[ScriptedGpu]:
    """A scripted GPU."""
    return ScriptedGpu


@pytest.fixture
def series() -> Callable[[bytes], Series]:
    """Exposition text as {(name, labels): value}, read by the reference parser."""

    def read(text: bytes) -> Series:
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text.decode())
            for sample in family.samples
        }

    return read


Tree = Callable[[Mapping[str, str | bytes]], Path]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Make files below a folder of this test and return the folder."""

    def make(files: Mapping[str, str | bytes]) -> Path:
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return tmp_path

    return make
