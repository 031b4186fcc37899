"""A language model's server with continuous batching, as vLLM schedules (Kwon et al., SOSP 2023; V1 scheduler).

Every step gives one token to each request that generates and spends what is left of the token budget on prompts: first
on those begun, then on those that wait, as long as there are places and blocks. Where a request needs a block and none
is free, the one that was admitted last is preempted: its blocks are freed, it goes to the front of the queue, and later
computes its prompt and what it had generated anew.

Steps are not simulated one by one: as long as nobody comes or goes they are one stretch of work (`stretch.py`). It ends
with the first request that is finished, before the first step for which blocks lack, or, where somebody comes or gives
up, with the step under way.
"""

from __future__ import annotations

import math
from typing import Final

from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.decoding import Decoding
from foreshock_simulator.serving.kv_cache import BLOCK_TOKENS, KvCache, blocks
from foreshock_simulator.serving.queue import Queue
from foreshock_simulator.serving.server import Job, ModelStats, Tally
from foreshock_simulator.serving.steps import Steps
from foreshock_simulator.serving.stretch import Stretch
from foreshock_simulator.spec.services import LlmSpec

ACTIVATION_BYTES: Final = 2e9
"""Memory of each GPU for activations and graphs; an assumption."""
WATERMARK: Final = 0.01
"""Share of the blocks that an admission leaves free (vLLM)."""
MAX_STEPS: Final = 128
"""Longest stretch: counters of tokens are brought up to date at its end."""


class LlmServer:
    """The server of one replica; see `ModelServer`.

    Args:
        engine: whose time it lives in.
        spec: of the model.
        worker: the process, on `spec.tensor_parallel` GPUs. Its memory beyond the weights is for keys and values.

    Raises:
        ValueError: another number of GPUs; the model does not fit.
    """

    __slots__ = (
        "_chunks", "_decoding", "_drained", "_engine", "_kv", "_leaving", "_prefilling", "_running", "_spec",
        "_stretch", "_tally", "_waiting", "worker",
    )  # fmt: skip

    def __init__(self, engine: Engine, spec: LlmSpec, worker: Worker) -> None:
        if len(worker.gpus) != spec.tensor_parallel:
            raise ValueError(
                f"{spec.model} runs on {spec.tensor_parallel} GPUs at once; its process has {len(worker.gpus)}"
            )
        self._engine, self._spec, self.worker = engine, spec, worker
        steps = Steps(worker.gpus[0].model, spec.parameters, spec.kv_bytes_per_token, spec.tensor_parallel)
        room = worker.memory_bytes - steps.weight_bytes - ACTIVATION_BYTES
        total = math.floor(room / (steps.kv_bytes * BLOCK_TOKENS))
        if total < 1:
            raise ValueError(
                f"{spec.model} has {steps.weight_bytes:.3g} bytes of weights a GPU and is given "
                f"{worker.memory_bytes:.3g}; raise memory_share or tensor_parallel"
            )
        self._kv = KvCache(total)
        self._tally = Tally()
        self._waiting = Queue()
        self._running: dict[Job, None] = {}  # in order of admission
        self._prefilling: list[Job] = []
        self._decoding = Decoding(self._kv)
        self._leaving: list[Job] = []
        self._stretch = Stretch(engine, worker, steps)
        self._chunks: list[tuple[Job, int]] = []  # the parts of prompts in the stretch under way
        self._drained: Signal | None = None

    @property
    def load(self) -> int:
        """Requests that run or wait."""
        return len(self._running) + self._waiting.count

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> Job:
        """Take a request in, or refuse it. There is one variant of its weights."""
        del variant
        job = Job(self._engine, prompt_tokens, generated_tokens)
        never = blocks(job.prompt_tokens + job.generated_tokens) > self._kv.total
        if never or self._waiting.count >= self._spec.max_waiting or self._drained is not None or self.worker.stopped:
            job.refuse()
            return job
        self._waiting.append(job)
        stretch = self._stretch
        if stretch.idle:
            self._begin()
        elif stretch.span > 1 and self._waiting.count == 1 and self._admits(job, stretch.done() + 2):
            stretch.cut()
        return job

    def cancel(self, job: Job) -> None:
        """Give a request up: one that runs leaves after the step under way."""
        if job.over or job.done.fired:
            return
        job.over = True
        if job in self._running:
            self._leaving.append(job)
            self._stretch.cut()
        else:
            self._waiting.given_up()
            job.done.fire(False)
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
        self._stretch.over()
        for job in (*self._running, *self._waiting):
            job.refuse()
        self._running.clear()
        self._waiting.clear()
        self._rest()

    def stats(self) -> ModelStats:
        """Its counters, as of the last stretch, and its gauges, as of now."""
        used = self._kv.used
        if not self._stretch.idle and self._decoding.count:
            used += self._kv.needed(self._decoding.step, self._stretch.done())
        return self._tally.state(len(self._running), self._waiting.count, used / self._kv.total)

    def _begin(self) -> None:
        """Schedule what comes next: one step with parts of prompts, or a stretch of steps without."""
        kv, decoding = self._kv, self._decoding
        preempted = False
        while kv.lacks(decoding.step):
            self._preempt()
            preempted = True
        chunks: list[tuple[Job, int]] = []
        budget = self._spec.max_batched_tokens - decoding.count
        for job in self._prefilling:
            take = min(job.left, budget)
            if take > 0:
                chunks.append((job, take))
                budget -= take
        if self._waiting.count and not preempted:
            self._admit(budget, chunks)
        self._chunks = chunks
        count, context = decoding.count, decoding.context
        if chunks:
            parts = [(take, job.target - job.left) for job, take in chunks]
            self._stretch.prefill(count, context, parts, self._end)
        elif count:
            span = kv.steps_within(decoding.step, min(MAX_STEPS, decoding.next_finish()))
            self._stretch.decode(count, context, span, self._end)
        else:
            self._stretch.over()
            self._rest()

    def _admit(self, budget: int, chunks: list[tuple[Job, int]]) -> None:
        waiting, now = self._waiting, self._engine.now
        while budget > 0 and (job := waiting.head()) is not None:
            if not self._admits(job, 1):
                return
            waiting.popleft()
            self._running[job] = None
            self._prefilling.append(job)
            self._kv.hold(job.target)
            if job.queued_seconds is None:
                job.queued_seconds = now - job.submitted
                self._tally.histograms["request_queue_time"].observe(job.queued_seconds)
            take = min(job.left, budget)
            chunks.append((job, take))
            budget -= take

    def _admits(self, job: Job, ahead: int) -> bool:
        """Whether a request that waits could begin and blocks would last for so many steps from the last one on."""
        if len(self._running) >= self._spec.max_sequences:
            return False
        kv = self._kv
        spare = WATERMARK * kv.total if self._running else 0.0
        return kv.free - blocks(job.target) - kv.needed(self._decoding.step, ahead) >= spare

    def _preempt(self) -> None:
        """Take the blocks of the request that was admitted last; it begins anew, from the front of the queue."""
        job, _ = self._running.popitem()
        if job.finish_step < 0:
            self._prefilling.remove(job)
            self._kv.release(job.target)
        else:
            self._decoding.leave(job)
            job.told = job.generated_tokens - (job.finish_step - self._decoding.step)
            job.target = job.prompt_tokens + job.told
            job.finish_step = -1
        job.left = job.target
        job.preemptions += 1
        self._tally.preemptions += 1
        self._waiting.appendleft(job)

    def _end(self) -> None:
        """Account for the stretch that has ended, and begin the next."""
        now, span, tally = self._engine.now, self._stretch.span, self._tally
        tokens = self._decoding.advance(span)
        if tokens:
            tally.generation_tokens += tokens
            tally.histograms["inter_token_latency"].observe((now - self._stretch.begun) / span, tokens)
        self._stretch.over()
        for job in self._leaving:
            self._leave(job)
        self._leaving.clear()
        for job, take in self._chunks:
            job.left -= take
            if job.left == 0 and not job.over:
                self._first_token(job, now)
        for job in self._decoding.finished():
            self._finished(job, now)
        self._begin()

    def _first_token(self, job: Job, now: float) -> None:
        """A prompt is computed, which gives the first token; after a preemption the next one."""
        tally = self._tally
        self._prefilling.remove(job)
        tally.generation_tokens += 1
        if job.first_token_seconds is None:
            job.first_token_seconds = now - job.submitted
            tally.prompt_tokens += job.prompt_tokens
            tally.histograms["time_to_first_token"].observe(job.first_token_seconds)
        rest = job.generated_tokens - job.told - 1
        if rest == 0:
            self._kv.release(job.target)
            self._finished(job, now)
            return
        self._decoding.join(job, rest)

    def _finished(self, job: Job, now: float) -> None:
        del self._running[job]
        job.over = True
        self._tally.finished(job, now)
        job.done.fire(True)

    def _leave(self, job: Job) -> None:
        """Let go of a request that was given up while it ran."""
        del self._running[job]
        if job.finish_step < 0:
            self._prefilling.remove(job)
            self._kv.release(job.target)
        else:
            self._decoding.leave(job)
        job.done.fire(False)

    def _rest(self) -> None:
        if self._drained is not None and not self._running and not self._waiting.count:
            self._drained.fire()
