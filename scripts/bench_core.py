"""What the parts of the simulator's model cost: microseconds of one core for each event, task and request.

  .venv/bin/python scripts/bench_core.py [--count 20000]

They say which part has become slower when `bench_simulate.py` says that the whole has; there is no bar for them. A
machine that is busy with other things shows in all of them alike.
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
from foreshock_simulator.hardware.work import GpuWork
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.factory import make_server, memory_bytes
from foreshock_simulator.spec.services import LlmSpec

KERNELS = GpuWork(0.01, sm=0.8, dram=0.3, tensor=0.1, kernels=100.0)
RUNS = 3


def clockwork(engine: Engine, count: int) -> None:
    """One process that sleeps again and again."""

    def sleeper() -> Process:
        for _ in range(count):
            yield 0.01

    engine.spawn(sleeper())


def tasks(engine: Engine, count: int, processes: int) -> None:
    """Processes on one GPU that work and pause in turns."""
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)

    def turns(worker: Worker) -> Process:
        for _ in range(count // processes):
            yield worker.run(KERNELS)
            yield 0.01

    for number in range(processes):
        engine.spawn(turns(Worker((gpu,), number, ServiceName("ml", f"tenant-{number}"), 1e9)))


def language_model(engine: Engine, count: int) -> None:
    """Requests to a model server at even distances, so that about 16 are served at once."""
    gpu = Gpu(engine, MODELS["H100"], "host-1", 0)
    spec = LlmSpec("llm-7b", parameters=7.0, kv_bytes_per_token=524_288)
    server = make_server(engine, spec, Worker((gpu,), 1, ServiceName("ml", "llm"), memory_bytes(spec, gpu)))

    def users() -> Process:
        for _ in range(count):
            server.submit(1000, 200)
            yield 0.125

    engine.spawn(users())


PARTS: dict[str, tuple[Callable[[Engine, int], None], int]] = {
    "an event of the clockwork": (clockwork, 1),
    "a task alone on a GPU": (lambda engine, count: tasks(engine, count, 1), 1),
    "a task where two share a GPU": (lambda engine, count: tasks(engine, count, 2), 1),
    "a request to a language model": (language_model, 10),
}
"""What is measured, and how many times fewer of it there are."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table: the best of some runs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    asked = parser.parse_args(arguments)
    gc.disable()
    for name, (begin, fewer) in PARTS.items():
        count, took = asked.count // fewer, []
        for _ in range(RUNS):
            engine = Engine()
            begin(engine, count)
            began = time.process_time()
            engine.run(float(count))
            took.append(time.process_time() - began)
        print(f"  {name:<32}{min(took) / count * 1e6:8.2f} µs")


if __name__ == "__main__":
    main()
