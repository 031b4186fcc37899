"""Assignment of GPU collection to threads: one shared thread, and a dedicated thread for each slow GPU.

One thread per GPU would wake up far more often, which costs more CPU than the passes themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

SLOW_PASS_SECONDS = 0.05
"""Duration of a pass above which the GPU gets a dedicated thread."""
STUCK_AFTER_SECONDS = 0.5
"""Duration after which a pass counts as hung; also the interval of the check."""
DEDICATED_SECONDS = 10.0
"""Time without a slow pass before a GPU returns to the shared thread."""

_Gpu = TypeVar("_Gpu")


class StartThread(Protocol):
    """Starts a thread that repeats `step` every `period` seconds until it returns True."""

    def __call__(self, name: str, step: Callable[[float], bool], period: float) -> None: ...


class Scheduler(Generic[_Gpu]):
    """Collects every GPU once per `period` seconds, never from two threads at once.

    `collect` gets the GPU and the time of the exporter's clock, and must not raise. `schedule` is not thread-safe.
    """

    def __init__(
        self,
        collect: Callable[[_Gpu, float], None],
        start_thread: StartThread,
        period: float,
        timer: Callable[[], float],
    ) -> None:
        self._collect = collect
        self._start_thread = start_thread
        self._period = period
        self._timer = timer
        self._lock = threading.Lock()
        self._gpus: tuple[_Gpu, ...] = ()
        self._started = False
        self._dedicated: dict[_Gpu, float] = {}
        self._generation = 0
        self._in_progress: tuple[_Gpu, float] | None = None

    def schedule(self, gpus: tuple[_Gpu, ...]) -> None:
        """Set the GPUs to collect from now on."""
        self._gpus = gpus
        if gpus and not self._started:
            self._started = True
            self._start_thread("gpus", partial(self._shared_pass, self._generation), self._period)
            self._start_thread("gpus-watch", self._check_shared_thread, STUCK_AFTER_SECONDS)

    def _shared_pass(self, generation: int, at: float) -> bool:
        """Pass of the shared thread; True after another thread has replaced it."""
        for gpu in self._gpus:
            with self._lock:
                if gpu in self._dedicated:
                    continue
                began = self._timer()
                self._in_progress = (gpu, began)
            self._collect(gpu, at)
            with self._lock:
                replaced = generation != self._generation
                if not replaced:
                    self._in_progress = None
                if replaced or self._timer() - began > SLOW_PASS_SECONDS:
                    self._dedicate_thread(gpu)
            if replaced:
                return True
        return False

    def _check_shared_thread(self, at: float) -> bool:  # noqa: ARG002 - a step is given the time
        """Replace the shared thread if it hangs: the hung GPU keeps it, and the other GPUs get new ones."""
        with self._lock:
            if self._in_progress is None or self._timer() - self._in_progress[1] <= STUCK_AFTER_SECONDS:
                return False
            stuck, _ = self._in_progress
            self._in_progress = None
            self._dedicated[stuck] = self._timer()
            self._generation += 1
            for gpu in self._gpus:
                if gpu not in self._dedicated:
                    self._dedicate_thread(gpu)
            self._start_thread("gpus", partial(self._shared_pass, self._generation), self._period)
        return False

    def _dedicate_thread(self, gpu: _Gpu) -> None:
        """Start a dedicated thread for a GPU. Requires the lock."""
        self._dedicated[gpu] = self._timer()
        self._start_thread("gpu", partial(self._dedicated_pass, gpu), self._period)

    def _dedicated_pass(self, gpu: _Gpu, at: float) -> bool:
        """Pass of a dedicated thread; True after the GPU is shared again or gone."""
        began = self._timer()
        if gpu in self._gpus:
            self._collect(gpu, at)
        now = self._timer()
        with self._lock:
            if now - began > SLOW_PASS_SECONDS:
                self._dedicated[gpu] = now
            is_over = gpu not in self._gpus or now - self._dedicated[gpu] > DEDICATED_SECONDS
            if is_over:
                del self._dedicated[gpu]
            return is_over
