"""Progress of a long command on standard error: a bar on a terminal, else one line a minute."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

BAR_COLUMNS = 24
REDRAW_SECONDS, LOG_SECONDS = 0.1, 60.0
"""Time between two drawings of the bar, and between two lines of a log."""


class ProgressBar:
    """Shows the current step and the completed share. clock: monotonic seconds."""

    def __init__(self, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out or sys.stderr
        self._clock = clock
        self._is_terminal = self._out.isatty()
        self._next = clock() + (0.0 if self._is_terminal else LOG_SECONDS)
        self._drawn = False

    def __call__(self, step: str, ratio: float) -> None:
        """Show a step and the completed share (0…1), unless the last output was a moment ago."""
        now = self._clock()
        if now < self._next and not (self._is_terminal and ratio >= 1.0):
            return
        self._next = now + (REDRAW_SECONDS if self._is_terminal else LOG_SECONDS)
        ratio = min(1.0, max(0.0, ratio))
        text = f"{ratio:4.0%}  {step}"
        if not self._is_terminal:
            print(text, file=self._out, flush=True)
            return
        self._drawn = True
        filled = round(ratio * BAR_COLUMNS)
        bar = f"{'█' * filled}{'░' * (BAR_COLUMNS - filled)}"
        print(f"\r{bar} {text}\x1b[K", end="", file=self._out, flush=True)

    def end(self, line: str = "") -> None:
        """Remove the bar and print a line with the result."""
        if self._drawn:
            print("\r\x1b[K", end="", file=self._out, flush=True)
        if line:
            print(line, file=self._out, flush=True)
