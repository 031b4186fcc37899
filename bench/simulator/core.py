"""CPU time of the simulator's parts: microseconds of one core per event, task and request.

  .venv/bin/python -m bench.simulator.core [--count 20000]

They show which part became slower when `simulate.py` shows that the whole did; they have no limits. Load of the
machine affects all of them equally.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence

from foreshock_simulator.core.engine import Engine, Process
from foreshock_simulator.core.names import ServiceName
from foreshock_simulator.hardware.gpu import Gpu
from foreshock_simulator.hardware.models import MODELS
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.serving.llm import LlmServer
from foreshock_simulator.serving.server import memory_bytes
from foreshock_simulator.spec.services import LlmSpec

KERNELS = GpuWork(0.01, sm=0.8, dram=0.3, tensor=0.1, kernels=100.0)
RUNS = 3


def events(engine: Engine, count: int) -> None:
    """One process that sleeps repeatedly."""

    def sleeper() -> Process:
        for _ in range(count):
            yield 0.01

    engine.spawn(sleeper())


def tasks(engine: Engine, count: int, processes: int) -> None:
    """Processes on one GPU that alternate between work and pauses."""
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)

    def turns(worker: Worker) -> Process:
        for _ in range(count // processes):
            yield worker.run(KERNELS)
            yield 0.01

    for number in range(processes):
        engine.spawn(turns(Worker((gpu,), number, ServiceName("ml", f"tenant-{number}"), 1e9)))


def language_model(engine: Engine, count: int) -> None:
    """Evenly spaced requests to a model server, about 16 of them concurrent."""
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)
    spec = LlmSpec("llm-7b", parameters=7.0, kv_bytes_per_token=524_288)
    server = LlmServer(engine, spec, Worker((gpu,), 1, ServiceName("ml", "llm"), memory_bytes(spec, gpu)))

    def users() -> Process:
        for _ in range(count):
            server.submit(1000, 200)
            yield 0.125

    engine.spawn(users())


PARTS: dict[str, tuple[Callable[[Engine, int], None], int]] = {
    "an event of the engine": (events, 1),
    "a task alone on a GPU": (lambda engine, count: tasks(engine, count, 1), 1),
    "a task where two share a GPU": (lambda engine, count: tasks(engine, count, 2), 1),
    "a request to a language model": (language_model, 10),
}
"""By name: the function that starts the work, and the divisor of `--count`."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, with the best of `RUNS` runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    options = parser.parse_args(arguments)
    gc.disable()
    for name, (start, divisor) in PARTS.items():
        count, seconds = options.count // divisor, []
        for _ in range(RUNS):
            engine = Engine()
            start(engine, count)
            started = time.process_time()
            engine.run(float(count))
            seconds.append(time.process_time() - started)
        print(f"  {name:<32}{min(seconds) / count * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
