"""A bar on a terminal for what takes long; on anything else, such as a log, a line a minute and one at the end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

WIDTH = 24
EVERY, RARELY = 0.1, 60.0
"""Seconds between two looks of the bar, and between two lines of a log."""


class ProgressBar:
    """Shows what is being done and which share of it is over, on standard error. clock: seconds, ever more."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._terminal = self._out.isatty()
        self._next = clock() + (0.0 if self._terminal else RARELY)
        self._drawn = False

    def __call__(self, what: str, share: float) -> None:
        """Show it."""
        now = self._clock()
        if now < self._next and not (self._terminal and share >= 1.0):
            return
        self._next = now + (EVERY if self._terminal else RARELY)
        share = min(1.0, max(0.0, share))
        if not self._terminal:
            print(f"{share:4.0%}  {what}", file=self._out, flush=True)
            return
        self._drawn = True
        filled = round(share * WIDTH)
        print(
            f"\r{'█' * filled}{'░' * (WIDTH - filled)} {share:4.0%}  {what}\x1b[K", end="", file=self._out, flush=True
        )

    def end(self, line: str = "") -> None:
        """Take the bar away; a line says what came of it."""
        if self._drawn:
            print("\r\x1b[K", end="", file=self._out, flush=True)
        if line:
            print(line, file=self._out, flush=True)
