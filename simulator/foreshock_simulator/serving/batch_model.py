"""The server of any other model (embedder, reranker, diffusion): a request is one stretch of GPU work.

Up to `max_batch` run at once, as streams of one process: they share the GPU like its processors, so together they take
no longer than their use of it makes them. The others wait in order.

Where the model has a `swap`, the server holds the weights of one variant at a time. A request that needs others waits
until all that run are finished, and then `swap` seconds while they are copied over PCIe; whoever came after it waits
behind it. So two variants asked for in turns leave little time for work.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.hardware.work import GpuWork
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.queue import Queue
from foreshock_simulator.serving.server import Job, ModelStats, Tally
from foreshock_simulator.spec.services import BatchModelSpec

TENSOR: Final = 0.4
"""Share of the tensor cores' peak while such a model's kernels hold all SMs; an assumption."""
DISPATCHES: Final = 100.0
"""Dispatches a second that one request waits for; an assumption."""
_SWAP_SM, _SWAP_DRAM, _SWAP_PCIE = 0.02, 0.05, 0.8
"""What loading weights uses, hardly more than PCIe; an assumption."""


class BatchServer:
    """The server of one replica; see `ModelServer`. Its tokens are those of the prompts."""

    __slots__ = ("_drained", "_engine", "_running", "_spec", "_swapping", "_tally", "_variant",
                 "_waiting", "worker")  # fmt: skip

    def __init__(self, engine: Engine, spec: BatchModelSpec, worker: Worker) -> None:
        self._engine, self._spec, self.worker = engine, spec, worker
        self._tally = Tally()
        self._waiting = Queue()
        self._running: dict[Job, None] = {}
        self._drained: Signal | None = None
        self._variant: str | None = None
        self._swapping = False

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        return len(self._running) + self._waiting.count

    def submit(self, prompt_tokens: int, generated_tokens: int = 1, variant: str = "") -> Job:
        """Take a request in, or refuse it. What it generates is not counted in tokens."""
        del generated_tokens
        job = Job(self._engine, prompt_tokens, 1, variant)
        if self._drained is not None or self.worker.stopped:
            job.refuse()
            return job
        self._waiting.append(job)
        self._next()
        if job.queued_seconds is None and self._waiting.count > self._spec.max_waiting:
            self._waiting.given_up()
            job.refuse()
        return job

    def cancel(self, job: Job) -> None:
        """Give a request up; its part of the GPU is free at once."""
        if job.over:
            return
        job.over = True
        if job in self._running:
            del self._running[job]
            if job.task is not None:
                self.worker.cancel(job.task)
                job.task = None
        else:
            self._waiting.given_up()
        job.done.fire(False)
        self._next()
        self._rest()

    def drain(self) -> Signal:
        """Refuse what comes; the signal fires when nothing is left."""
        if self._drained is None:
            self._drained = Signal(self._engine)
            self._rest()
        return self._drained

    def stop(self) -> None:
        """End with the process."""
        self.worker.stop()
        for job in (*self._running, *self._waiting):
            job.refuse()
        self._running.clear()
        self._waiting.clear()
        self._rest()

    def stats(self) -> ModelStats:
        """Its counters and gauges; it has no cache of keys and values."""
        return self._tally.state(len(self._running), self._waiting.count, 0.0)

    def _begin(self, job: Job) -> None:
        spec = self._spec
        job.queued_seconds = self._engine.now - job.submitted
        self._tally.histograms["request_queue_time"].observe(job.queued_seconds)
        self._running[job] = None
        seconds = spec.seconds + spec.seconds_per_token * job.prompt_tokens
        work = GpuWork(seconds, spec.sm, spec.dram, TENSOR * spec.sm, kernels=DISPATCHES)
        job.task = self.worker.run(work, partial(self._finished, job))

    def _finished(self, job: Job) -> None:
        del self._running[job]
        job.over, job.task = True, None  # the task knows the job: without this, both would wait for the collector
        self._tally.prompt_tokens += job.prompt_tokens
        self._tally.finished(job, self._engine.now)
        job.done.fire(True)
        self._next()
        self._rest()

    def _next(self) -> None:
        """Begin what waits, as far as there is place for it and its weights are there."""
        waiting = self._waiting
        while not self._swapping and len(self._running) < self._spec.max_batch:
            job = waiting.head()
            if job is None:
                return
            if self._variant in (None, job.variant) or not self._spec.swap:
                self._variant = job.variant
                waiting.popleft()
                self._begin(job)
            elif self._running:
                return
            else:
                self._swapping = True
                work = GpuWork(self._spec.swap, _SWAP_SM, _SWAP_DRAM, pcie=_SWAP_PCIE)
                self.worker.run(work, partial(self._swapped, job.variant))

    def _swapped(self, variant: str) -> None:
        self._swapping = False
        self._variant = variant
        self._next()

    def _rest(self) -> None:
        if self._drained is not None and not self._running and not self._waiting.count:
            self._drained.fire()
