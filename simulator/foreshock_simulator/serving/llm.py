"""A language model server with continuous batching, as in vLLM (Kwon et al., SOSP 2023; V1 scheduler).

Every step gives one token to each generating request and spends the rest of the token budget on prompts: first on those
already started, then on waiting requests while there are slots and blocks. When a request needs a block and none is
free, the last admitted request is preempted: its blocks are freed, it moves to the front of the queue, and later
recomputes its prompt and its generated tokens.

Steps are not simulated one by one: while the set of requests does not change, they are one piece of GPU work
(`StepRun`). It ends with the first finished request, before the first step without enough blocks, or with the
current step when a request arrives or is cancelled.
"""

from __future__ import annotations

import math
from typing import Final

from foreshock_simulator.core.engine import Engine
from foreshock_simulator.hardware.worker import Worker
from foreshock_simulator.serving.kv_cache import BLOCK_TOKENS, Decoding, KvCache, block_count
from foreshock_simulator.serving.server import Job, ModelServer
from foreshock_simulator.serving.steps import StepRun, StepTimes
from foreshock_simulator.spec.services import LlmSpec

ACTIVATION_BYTES: Final = 2e9
"""Memory of each GPU for activations and CUDA graphs; an assumption."""
WATERMARK_RATIO: Final = 0.01
"""Share of the blocks that an admission leaves free (vLLM)."""
MAX_RUN_STEPS: Final = 128
"""Longest run of steps; token counters are updated at its end."""


class LlmServer(ModelServer):
    """The server of one replica.

    The memory of its process beyond the weights holds the KV cache.

    Raises:
        ValueError: wrong number of GPUs, or the model does not fit.
    """

    def __init__(self, engine: Engine, spec: LlmSpec, worker: Worker) -> None:
        if len(worker.gpus) != spec.tensor_parallel:
            raise ValueError(
                f"{spec.model} runs on {spec.tensor_parallel} GPUs at once; its process has {len(worker.gpus)}"
            )
        super().__init__(engine, worker)
        self._spec = spec
        step_times = StepTimes(worker.gpus[0].model, spec.parameters, spec.kv_bytes_per_token, spec.tensor_parallel)
        available = worker.memory_bytes - step_times.weight_bytes - ACTIVATION_BYTES
        total = math.floor(available / (step_times.kv_bytes * BLOCK_TOKENS))
        if total < 1:
            raise ValueError(
                f"{spec.model} has {step_times.weight_bytes:.3g} bytes of weights a GPU and is given "
                f"{worker.memory_bytes:.3g}; raise memory_share or tensor_parallel"
            )
        self._kv = KvCache(total)
        self._prefilling: list[Job] = []
        self._decoding = Decoding(self._kv)
        self._cancelled: list[Job] = []
        self._step_run = StepRun(engine, worker, step_times)
        self._chunks: list[tuple[Job, int]] = []  # parts of prompts in the current step

    def submit(self, prompt_tokens: int, generated_tokens: int, variant: str = "") -> Job:
        """Accept or reject a request. The model has one variant of its weights."""
        del variant
        job = Job(self._engine, prompt_tokens, generated_tokens)
        too_large = block_count(job.prompt_tokens + job.generated_tokens) > self._kv.total
        queue_full = len(self._waiting) >= self._spec.max_waiting
        if too_large or queue_full or self.worker.stopped:
            job.reject()
            return job
        self._waiting[job] = None
        step_run = self._step_run
        if step_run.idle:
            self._schedule()
        elif step_run.steps > 1 and len(self._waiting) == 1 and self._admits(job, step_run.completed() + 2):
            step_run.end_with_current_step()
        return job

    def cancel(self, job: Job) -> None:
        """Cancel a request; a running one leaves after the current step."""
        if job.over or job.done.fired:
            return
        job.over = True
        if job in self._running:
            self._cancelled.append(job)
            self._step_run.end_with_current_step()
        else:
            del self._waiting[job]
            job.done.fire(False)

    def stop(self) -> None:
        """Stop at once, with the process; requests in flight fire with False."""
        self._step_run.finish()
        super().stop()

    def _kv_cache_usage(self) -> float:
        used = self._kv.used
        if not self._step_run.idle and self._decoding.count:
            used += self._kv.needed(self._decoding.step, self._step_run.completed())
        return used / self._kv.total

    def _schedule(self) -> None:
        """Schedule the next work: one step with parts of prompts, or a run of decode steps."""
        kv, decoding = self._kv, self._decoding
        preempted = False
        while kv.is_short(decoding.step):
            self._preempt()
            preempted = True
        chunks: list[tuple[Job, int]] = []
        budget = self._spec.max_batched_tokens - decoding.count
        for job in self._prefilling:
            tokens = min(job.left, budget)
            if tokens > 0:
                chunks.append((job, tokens))
                budget -= tokens
        if self._waiting and not preempted:
            self._admit_waiting(budget, chunks)
        self._chunks = chunks
        count, context = decoding.count, decoding.context
        if chunks:
            parts = [(tokens, job.target - job.left) for job, tokens in chunks]
            self._step_run.prefill(count, context, parts, self._end)
        elif count:
            steps = kv.steps_until_full(decoding.step, min(MAX_RUN_STEPS, decoding.next_finish()))
            self._step_run.decode(count, context, steps, self._end)
        else:
            self._step_run.finish()

    def _admit_waiting(self, budget: int, chunks: list[tuple[Job, int]]) -> None:
        waiting = self._waiting
        while budget > 0 and waiting:
            job = next(iter(waiting))
            if not self._admits(job, 1):
                return
            del waiting[job]
            self._admit(job)
            self._prefilling.append(job)
            self._kv.hold(job.target)
            tokens = min(job.left, budget)
            chunks.append((job, tokens))
            budget -= tokens

    def _admits(self, job: Job, ahead: int) -> bool:
        """Whether a waiting request could start, with enough blocks for `ahead` steps after the last one."""
        if len(self._running) >= self._spec.max_sequences:
            return False
        kv = self._kv
        watermark = WATERMARK_RATIO * kv.total if self._running else 0.0
        return kv.free - block_count(job.target) - kv.needed(self._decoding.step, ahead) >= watermark

    def _preempt(self) -> None:
        """Free the blocks of the last admitted request, which starts again from the front of the queue."""
        job, _ = self._running.popitem()
        self._free(job)
        if job.finish_step >= 0:
            job.generated_before_preemption = job.generated_tokens - (job.finish_step - self._decoding.step)
            job.target = job.prompt_tokens + job.generated_before_preemption
            job.finish_step = -1
        job.left = job.target
        job.preemptions += 1
        self._preemptions += 1
        self._waiting[job] = None
        self._waiting.move_to_end(job, last=False)

    def _end(self) -> None:
        """Account for the finished run of steps, and schedule the next."""
        now, steps = self._engine.now, self._step_run.steps
        tokens = self._decoding.advance(steps)
        if tokens:
            self._generation_tokens += tokens
            self._histograms["inter_token_latency"].observe((now - self._step_run.begun) / steps, tokens)
        self._step_run.finish()
        for job in self._cancelled:
            del self._running[job]
            self._free(job)
            job.done.fire(False)
        self._cancelled.clear()
        for job, tokens in self._chunks:
            job.left -= tokens
            if job.left == 0 and not job.over:
                self._first_token(job, now)
        for job in self._decoding.take_finished():
            self._succeed(job)
        self._schedule()

    def _first_token(self, job: Job, now: float) -> None:
        """A prompt is computed, which gives the first token; after a preemption the next token."""
        self._prefilling.remove(job)
        self._generation_tokens += 1
        if job.first_token_seconds is None:
            job.first_token_seconds = now - job.submitted
            self._prompt_tokens += job.prompt_tokens
            self._histograms["time_to_first_token"].observe(job.first_token_seconds)
        remaining = job.generated_tokens - job.generated_before_preemption - 1
        if remaining == 0:
            self._kv.release(job.target)
            self._succeed(job)
            return
        self._decoding.join(job, remaining)

    def _free(self, job: Job) -> None:
        """Free the blocks of a request that leaves the batch unfinished."""
        if job.finish_step < 0:
            self._prefilling.remove(job)
            self._kv.release(job.target)
        else:
            self._decoding.leave(job)
