"""Which thread passes over which GPU: one for all that answer at once, one of its own for each that does not.

A thread for every GPU would be woken as often as all of them together, which costs more than the passes themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, Protocol, TypeVar

from foreshock_exporter.common.log import log

SLOW_PASS_SECONDS = 0.05
"""Seconds. A GPU whose pass takes longer keeps the others waiting."""
STUCK_AFTER_SECONDS = 0.5
"""Seconds after which a pass that has not ended is taken to hang; looked for as often."""
DEDICATED_SECONDS = 10.0
"""Seconds without a slow pass after which a GPU is passed over together with the others again."""

_Gpu = TypeVar("_Gpu")


class StartThread(Protocol):
    """Runs a step in a thread of that name, every so many seconds, until it says with True that it is over."""

    def __call__(self, name: str, step: Callable[[float], bool], period: float) -> None:
        """Start the thread."""
        ...


class Scheduler(Generic[_Gpu]):
    """Has every GPU passed over each period, none by two threads at once. `attend` is for one caller at a time.

    Args:
        look: passes over one GPU at a time on the exporter's clock. What it raises is logged.
        run: starts a thread.
        period: seconds between two passes.
        timer: a steady clock in seconds on the wall.
    """

    def __init__(
        self, look: Callable[[_Gpu, float], None], run: StartThread, period: float, timer: Callable[[], float]
    ) -> None:
        self._look = look
        self._run = run
        self._period = period
        self._timer = timer
        self._lock = threading.Lock()
        self._gpus: tuple[_Gpu, ...] = ()
        self._began = False
        self._apart: dict[_Gpu, float] = {}
        self._shared = 0
        self._looking: tuple[_Gpu, float] | None = None

    def attend(self, gpus: tuple[_Gpu, ...]) -> None:
        """These are the GPUs from now on."""
        self._gpus = gpus
        if gpus and not self._began:
            self._began = True
            self._run("gpus", partial(self._round, self._shared), self._period)
            self._run("gpus-watch", self._watch, STUCK_AFTER_SECONDS)

    def _round(self, number: int, at: float) -> bool:
        """The shared thread's passes; true once another has taken its place."""
        for gpu in self._gpus:
            with self._lock:
                if gpu in self._apart:
                    continue
                began = self._timer()
                self._looking = (gpu, began)
            self._try(gpu, at)
            with self._lock:
                replaced = number != self._shared
                if not replaced:
                    self._looking = None
                if replaced or self._timer() - began > SLOW_PASS_SECONDS:
                    self._part(gpu)
            if replaced:
                return True
        return False

    def _watch(self, at: float) -> bool:  # noqa: ARG002 - a step is given the time
        """Where the shared thread hangs in a GPU, that GPU is its own, and each of the others gets one."""
        with self._lock:
            if self._looking is None or self._timer() - self._looking[1] <= STUCK_AFTER_SECONDS:
                return False
            stuck, _ = self._looking
            self._looking = None
            self._apart[stuck] = self._timer()
            self._shared += 1
            for gpu in self._gpus:
                if gpu not in self._apart:
                    self._part(gpu)
            self._run("gpus", partial(self._round, self._shared), self._period)
        return False

    def _part(self, gpu: _Gpu) -> None:
        """Give a GPU a thread of its own. Under the lock."""
        self._apart[gpu] = self._timer()
        self._run("gpu", partial(self._pass, gpu), self._period)

    def _pass(self, gpu: _Gpu, at: float) -> bool:
        """A pass of a GPU's own thread; true once it is with the others again, or gone."""
        began = self._timer()
        if gpu in self._gpus:
            self._try(gpu, at)
        now = self._timer()
        with self._lock:
            if now - began > SLOW_PASS_SECONDS:
                self._apart[gpu] = now
            over = gpu not in self._gpus or now - self._apart[gpu] > DEDICATED_SECONDS
            if over:
                del self._apart[gpu]
            return over

    def _try(self, gpu: _Gpu, at: float) -> None:
        try:
            self._look(gpu, at)
        except Exception:  # noqa: BLE001 - whatever the pass over one GPU meets, the others go on
            log.exception("a pass failed; the next is in %g s", self._period)
