"""Host with H100s for `make bench`: real processes that use the GPUs, and their simulated load.

The GPUs are the C library of tests/nvml, updated in real time. As a program, this module updates state files until its
standard input ends.
"""

from __future__ import annotations

import json
import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from itertools import cycle, islice
from pathlib import Path
from typing import NamedTuple

from tests.nvml import layout, packing
from tests.nvml.double import Double
from tests.nvml.profiles import PROFILES, SAMPLE_US, START
from tests.nvml.scripted import ScriptedGpu, ScriptedHost, ScriptedProcess

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample

SERVICES = ("train", "embed", "rerank", "chat", "batch")
"""Services, whose processes take turns on each GPU."""
MAX_ACTIVE = 5
"""Processes that use a GPU in a sampling period."""
KEPT_SAMPLES = 18
"""Samples kept by the driver: three seconds; exporters read up to one second at a time."""
PLAY_INTERVAL_SECONDS = SAMPLE_US / 2e6
"""Interval between two states."""
BUSY_SAMPLES, IDLE_SAMPLES = 18, 3
"""Consecutive samples with and without load."""
DIALECT = replace(PROFILES["h100"].dialect, delays={})
"""An H100 without the 20 ms of NVML's PCIe throughput measurement, which would slow the peer below its period."""

Pids = Sequence[Sequence[int]]
"""PIDs by GPU."""


class Size(NamedTuple):
    """Number of GPUs, and of processes on each."""

    gpus: int = 8
    processes: int = 5


@contextmanager
def tenants(size: Size) -> Iterator[Pids]:
    """Processes that use the GPUs. They wait on a pipe, and so end with this process."""
    reading, writing = os.pipe()
    started = [
        [
            subprocess.Popen(["cat"], stdin=reading, env={**os.environ, "OTEL_SERVICE_NAME": service})
            for service in islice(cycle(SERVICES), size.processes)
        ]
        for _ in range(size.gpus)
    ]
    os.close(reading)
    try:
        yield [[process.pid for process in gpu_processes] for gpu_processes in started]
    finally:
        os.close(writing)
        for process in (process for gpu_processes in started for process in gpu_processes):
            process.wait(10)


@contextmanager
def playing(doubles: Sequence[Double], pids: Pids) -> Iterator[None]:
    """Update all doubles with the host's load in a separate process. Returns after the first update."""
    arguments = json.dumps({"states": [str(double.path) for double in doubles], "pids": pids})
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.exporter.gpus", arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        if process.stdout.readline() != "plays\n":
            raise RuntimeError("the player of the GPUs ended; what it says is above")
        yield
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def host(now: float, began: float, pids: Pids) -> ScriptedHost:
    """Host at a time in Unix seconds."""
    base = PROFILES["h100"].at(START + 20.0 + now - began).gpus[0]
    return ScriptedHost(now, tuple(_gpu(base, now, index, gpu_processes) for index, gpu_processes in enumerate(pids)))


def _gpu(base: ScriptedGpu, now: float, index: int, pids: Sequence[int]) -> ScriptedGpu:
    newest = int(now * 1e6) // SAMPLE_US
    periods = range(newest - KEPT_SAMPLES, newest)
    busy = sum(shares(index, newest - 1, len(pids)).values())
    identity = replace(base.identity, gpu=str(index), uuid=f"GPU-{index}", pci_bus_id=f"00000000:{index + 1:02X}:00.0")
    reading = replace(
        base.reading, utilization_ratio=busy, memory_busy_ratio=round(busy / 2, 2), power_watts=90.0 + 600.0 * busy
    )
    return replace(
        base,
        identity=identity,
        reading=reading,
        processes=tuple(
            ScriptedProcess(pid, ("", service), 2.0**30 * (2 + position) / max(1, len(pids) // len(SERVICES)))
            for position, (pid, service) in enumerate(zip(pids, cycle(SERVICES), strict=False))
        ),
        samples=tuple(
            UtilizationSample((n + 1) * SAMPLE_US, sum(shares(index, n, len(pids)).values())) for n in periods
        ),
        process_samples=tuple(
            ProcessUtilization(pids[position], (n + 1) * SAMPLE_US, share)
            for n in periods
            for position, share in shares(index, n, len(pids)).items()
        ),
    )


@lru_cache(maxsize=4 * layout.MAX_GPUS * KEPT_SAMPLES)
def shares(gpu: int, number: int, processes: int) -> Mapping[int, float]:
    """SM time in a sampling period by position of the process, in hundredths: at most `MAX_ACTIVE` of them."""
    if (number + 5 * gpu) % (BUSY_SAMPLES + IDLE_SAMPLES) < IDLE_SAMPLES:
        return {}
    generator = random.Random(1000 * number + gpu)  # noqa: S311 made-up load, no secret
    active = sorted(generator.sample(range(processes), min(processes, MAX_ACTIVE)))
    return {position: share / 100 for position in active if (share := generator.choice((0, 5, 12, 19)))}


def _play(states: Sequence[str], pids: Pids) -> None:
    doubles = [Double(Path(), Path(state)) for state in states]
    began = time.time()
    first = True
    while first or not select.select([sys.stdin], [], [], PLAY_INTERVAL_SECONDS)[0]:
        state = packing.state(host(time.time(), began, pids), (DIALECT,) * layout.MAX_GPUS)
        for double in doubles:
            double.write(state)
        if first:
            print("plays", flush=True)
            first = False


def calls(double: Double) -> Mapping[str, int]:
    """Number of calls of each library function."""
    return dict(zip(layout.CALLS, double.journal().calls[layout.MAX_GPUS], strict=True))


if __name__ == "__main__":
    arguments = json.loads(sys.argv[1])
    _play(arguments["states"], arguments["pids"])
