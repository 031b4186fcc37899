"""The server of a model other than a language model (embedder, reranker, diffusion): each request is one GPU task.

Up to `max_batch` requests run at once, as streams of one process that share the GPU. The others wait in order.

With a `swap` time, the server holds the weights of one variant at a time. A request for another variant waits until all
running requests are finished, and then `swap` seconds for the copy over PCIe. Later requests wait behind it. So two
variants in alternation leave little time for work.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.worker import GpuWork, Worker
from foreshock_simulator.serving.server import Job, ModelServer
from foreshock_simulator.spec.services import BatchModelSpec

TENSOR_RATIO: Final = 0.4
"""Share of the tensor cores' peak while the kernels hold all SMs; an assumption."""
DISPATCHES_PER_SECOND: Final = 100.0
"""Blocking dispatches per second of one request; an assumption."""
_SWAP_SM_RATIO, _SWAP_DRAM_RATIO, _SWAP_PCIE_RATIO = 0.02, 0.05, 0.8
"""Use of the channels while weights are copied, mostly of PCIe; an assumption."""


class BatchServer(ModelServer):
    """The server of one replica. Its tokens are prompt tokens."""

    def __init__(self, engine: Engine, spec: BatchModelSpec, worker: Worker) -> None:
        super().__init__(engine, worker)
        self._spec = spec
        self._variant: str | None = None
        self._swapping = False

    def submit(self, prompt_tokens: int, generated_tokens: int = 1, variant: str = "") -> Job:
        """Accept or reject a request. Generated tokens are not counted."""
        del generated_tokens
        job = Job(self._engine, prompt_tokens, 1, variant)
        if self.worker.stopped:
            job.reject()
            return job
        self._waiting[job] = None
        self._start_waiting()
        if job.queued_seconds is None and len(self._waiting) > self._spec.max_waiting:
            del self._waiting[job]
            job.reject()
        return job

    def cancel(self, job: Job) -> None:
        """Cancel a request and free its share of the GPU."""
        if job.over:
            return
        job.over = True
        if job in self._running:
            del self._running[job]
            if job.task is not None:
                self.worker.cancel(job.task)
                job.task = None
        else:
            del self._waiting[job]
        job.done.fire(False)
        self._start_waiting()

    def _start(self, job: Job) -> None:
        self._admit(job)
        spec = self._spec
        seconds = spec.seconds + spec.seconds_per_token * job.prompt_tokens
        work = GpuWork(seconds, spec.sm, spec.dram, TENSOR_RATIO * spec.sm, kernels=DISPATCHES_PER_SECOND)
        job.task = self.worker.run(work, partial(self._finish, job))

    def _finish(self, job: Job) -> None:
        job.task = None  # breaks the reference cycle of job and task
        self._prompt_tokens += job.prompt_tokens
        self._succeed(job)
        self._start_waiting()

    def _start_waiting(self) -> None:
        """Start waiting requests within `max_batch`, as far as the loaded variant serves them."""
        waiting = self._waiting
        while waiting and not self._swapping and len(self._running) < self._spec.max_batch:
            job = next(iter(waiting))
            if self._variant in (None, job.variant) or not self._spec.swap:
                self._variant = job.variant
                del waiting[job]
                self._start(job)
            elif self._running:
                return
            else:
                self._swapping = True
                work = GpuWork(self._spec.swap, _SWAP_SM_RATIO, _SWAP_DRAM_RATIO, pcie=_SWAP_PCIE_RATIO)
                self.worker.run(work, partial(self._finish_swap, job.variant))

    def _finish_swap(self, variant: str) -> None:
        self._swapping = False
        self._variant = variant
        self._start_waiting()
