"""A model server that batches continuously in real time, with vLLM's metric names.

Each step of the engine generates one token of every request in the batch. A request enters the batch when a slot and
room in the KV cache are free (its prompt, in blocks of 16 tokens, Kwon et al., SOSP 2023); when the cache fills up, the
request that entered last is preempted and later computed again.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from behavior import Behavior, Json

BLOCK_TOKENS = 16
_LABELS = ["model_name", "engine"]
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0)
RUNNING = Gauge("vllm:num_requests_running", "Requests in the batch.", _LABELS)
WAITING = Gauge("vllm:num_requests_waiting", "Requests that wait.", _LABELS)
KV_USAGE = Gauge("vllm:kv_cache_usage_perc", "Share of the KV cache in use.", _LABELS)
PREEMPTIONS = Counter("vllm:num_preemptions", "Preempted requests.", _LABELS)
SUCCESS = Counter("vllm:request_success", "Finished requests.", [*_LABELS, "finished_reason"])
PROMPT = Counter("vllm:prompt_tokens", "Tokens read.", _LABELS)
GENERATED = Counter("vllm:generation_tokens", "Tokens generated.", _LABELS)
TTFT = Histogram("vllm:time_to_first_token_seconds", "Time to the first token.", _LABELS, buckets=_SECONDS)
TPOT = Histogram(
    "vllm:inter_token_latency_seconds", "Time between tokens.", _LABELS, buckets=(0.01, 0.025, 0.05, 0.1, 0.5)
)
LATENCY = Histogram("vllm:e2e_request_latency_seconds", "Latency of requests.", _LABELS, buckets=_SECONDS)
QUEUE = Histogram("vllm:request_queue_time_seconds", "Time in the queue.", _LABELS, buckets=_SECONDS)


@dataclass(slots=True)
class Sequence:
    """A request of the engine; times of `time.monotonic()`."""

    prompt: int
    output: int
    arrived: float
    done: asyncio.Event = field(default_factory=asyncio.Event)
    generated: int = 0
    admitted: float = 0.0
    first_token: float = 0.0

    @property
    def blocks(self) -> int:
        """Blocks of the KV cache that it holds."""
        return math.ceil((self.prompt + self.generated) / BLOCK_TOKENS)


class Engine:
    """The batch and its queue."""

    def __init__(self, model: Json, behavior: Behavior) -> None:
        self._model, self._behavior = model, behavior
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._work = asyncio.Event()
        self._unread = 0
        """Tokens of prompts that the next step reads."""
        self._labels = (model["name"], "0")
        QUEUE.labels(*self._labels)
        RUNNING.labels(*self._labels).set_function(lambda: len(self._running))
        WAITING.labels(*self._labels).set_function(lambda: len(self._waiting))
        KV_USAGE.labels(*self._labels).set_function(lambda: min(1.0, self._blocks() / self._capacity()))
        for counter in (PREEMPTIONS, PROMPT, GENERATED):
            counter.labels(*self._labels)

    @property
    def name(self) -> str:
        """The model."""
        return str(self._model["name"])

    async def generate(self, prompt: int, output: int) -> Sequence:
        """Answer a request: number of tokens of its prompt and of its answer."""
        sequence = Sequence(prompt, max(1, output), time.monotonic())
        self._waiting.append(sequence)
        self._work.set()
        try:
            await sequence.done.wait()
        finally:  # a client that leaves frees its slot
            if sequence in self._waiting:
                self._waiting.remove(sequence)
            elif sequence in self._running:
                self._running.remove(sequence)
        return sequence

    async def run(self) -> None:
        """Step for ever."""
        while True:
            self._admit()
            if not self._running:
                self._work.clear()
                await self._work.wait()
                continue
            before = time.monotonic()
            await asyncio.sleep(self._step_seconds())
            self._advance(before)

    def _admit(self) -> None:
        slots = self._behavior.number("slots", self._model["slots"])
        while self._waiting and len(self._running) < slots:
            sequence = self._waiting[0]
            if self._running and self._blocks() + sequence.blocks > self._capacity():
                return
            self._waiting.popleft()
            self._running.append(sequence)
            self._unread += sequence.prompt + sequence.generated
            if not sequence.admitted:
                sequence.admitted = time.monotonic()
                QUEUE.labels(*self._labels).observe(sequence.admitted - sequence.arrived)
                PROMPT.labels(*self._labels).inc(sequence.prompt)

    def _step_seconds(self) -> float:
        model, unread = self._model, self._unread
        self._unread = 0
        factor = self._behavior.number("step_factor", 1.0)
        decode = model["step_seconds"] + model["sequence_seconds"] * len(self._running)
        return float(factor * (decode + unread / model["prefill_tokens_per_second"]))

    def _advance(self, before: float) -> None:
        now = time.monotonic()
        GENERATED.labels(*self._labels).inc(len(self._running))
        for sequence in list(self._running):
            sequence.generated += 1
            if sequence.generated == 1:
                sequence.first_token = now
                TTFT.labels(*self._labels).observe(now - sequence.arrived)
            else:
                TPOT.labels(*self._labels).observe(now - before)
            if sequence.generated >= sequence.output:
                self._running.remove(sequence)
                LATENCY.labels(*self._labels).observe(now - sequence.arrived)
                SUCCESS.labels(*self._labels, "stop").inc()
                sequence.done.set()
        while len(self._running) > 1 and self._blocks() > self._capacity():
            self._waiting.appendleft(self._running.pop())
            PREEMPTIONS.labels(*self._labels).inc()

    def _blocks(self) -> int:
        return sum(sequence.blocks for sequence in self._running)

    def _capacity(self) -> int:
        return int(self._behavior.number("kv_tokens", self._model["kv_tokens"])) // BLOCK_TOKENS
