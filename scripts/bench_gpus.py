"""A host of eight H100s for `make bench`: real processes that hold them, and a process that plays their load.

The GPUs are the C library of tests/nvml, played in real time. Run as a program, this plays into state files until its
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
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.nvml import layout, packing
from tests.nvml.double import Double
from tests.nvml.profiles import PROFILES, SAMPLE_US, START

from foreshock_exporter.model.device import ProcessUtilization, UtilizationSample
from foreshock_exporter.script.state import ScriptedGpu, ScriptedHost, ScriptedProcess

GPUS = 8
SERVICES = ("train", "embed", "rerank", "chat", "batch")
"""Each has a process on each GPU."""
KEPT = 18
"""Samples that the driver keeps: three seconds, of which both exporters ask for one at most."""
PLAY_EVERY = SAMPLE_US / 2e6
"""Seconds between two states shown."""
BUSY_FOR, IDLE_FOR = 18, 3
"""Samples in a row with and without load."""
DIALECT = replace(PROFILES["h100"].dialect, delays={})
"""An H100's, less the 20 ms in which NVML measures PCIe throughput: with them the peer could not keep its period."""

Pids = Sequence[Sequence[int]]
"""By GPU."""


@contextmanager
def tenants() -> Iterator[Pids]:
    """Processes that hold the GPUs: each waits for a pipe to end, and so ends with this process whatever ends that."""
    reading, writing = os.pipe()
    started = [
        [
            subprocess.Popen(["cat"], stdin=reading, env={**os.environ, "OTEL_SERVICE_NAME": service})
            for service in SERVICES
        ]
        for _ in range(GPUS)
    ]
    os.close(reading)
    try:
        yield [[process.pid for process in of_gpu] for of_gpu in started]
    finally:
        os.close(writing)
        for process in (process for of_gpu in started for process in of_gpu):
            process.wait(10)


@contextmanager
def playing(doubles: Sequence[Double], pids: Pids) -> Iterator[None]:
    """Plays the host's load into all of these alike, in a process of its own. Returns once they show it."""
    told = json.dumps({"states": [str(double.path) for double in doubles], "pids": pids})
    process = subprocess.Popen(
        [sys.executable, __file__, told], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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


def host(now: float, began: float, pids: Pids) -> ScriptedHost:
    """The host at a time, Unix seconds."""
    base = PROFILES["h100"].at(START + 20.0 + now - began).gpus[0]
    return ScriptedHost(now, tuple(_gpu(base, now, index, of_gpu) for index, of_gpu in enumerate(pids)))


def _gpu(base: ScriptedGpu, now: float, index: int, pids: Sequence[int]) -> ScriptedGpu:
    newest = int(now * 1e6) // SAMPLE_US
    kept = range(newest - KEPT, newest)
    busy = sum(shares(index, newest - 1))
    identity = replace(base.identity, gpu=str(index), uuid=f"GPU-{index}", pci_bus_id=f"00000000:{index + 1:02X}:00.0")
    reading = replace(
        base.reading, utilization_ratio=busy, memory_busy_ratio=round(busy / 2, 2), power_watts=90.0 + 600.0 * busy
    )
    return replace(
        base,
        identity=identity,
        reading=reading,
        processes=tuple(
            ScriptedProcess(pid, ("", service), 2.0**30 * (2 + at))
            for at, (pid, service) in enumerate(zip(pids, SERVICES, strict=True))
        ),
        samples=tuple(UtilizationSample((n + 1) * SAMPLE_US, sum(shares(index, n))) for n in kept),
        process_samples=tuple(
            ProcessUtilization(pid, (n + 1) * SAMPLE_US, share)
            for n in kept
            for pid, share in zip(pids, shares(index, n), strict=True)
            if share
        ),
    )


@lru_cache(maxsize=4 * GPUS * KEPT)
def shares(gpu: int, number: int) -> Sequence[float]:
    """SM time by process in a sampling period: of three or four of them at a time, in hundredths."""
    if (number + 5 * gpu) % (BUSY_FOR + IDLE_FOR) < IDLE_FOR:
        return (0.0,) * len(SERVICES)
    chance = random.Random(1000 * number + gpu)  # noqa: S311 made-up load, no secret
    return tuple(chance.choice((0, 5, 12, 19)) / 100 for _ in SERVICES)


def _play(states: Sequence[str], pids: Pids) -> None:
    doubles = [Double(Path(), Path(state)) for state in states]
    began = time.time()
    first = True
    while first or not select.select([sys.stdin], [], [], PLAY_EVERY)[0]:
        state = packing.state(host(time.time(), began, pids), (DIALECT,) * layout.MAX_GPUS)
        for double in doubles:
            double.write(state)
        if first:
            print("plays", flush=True)
            first = False


def calls(double: Double) -> Mapping[str, int]:
    """How often each function of the library was called so far."""
    return dict(zip(layout.CALLS, double.journal().calls[layout.MAX_GPUS], strict=True))


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    _play(told["states"], told["pids"])
