"""A bar on a terminal for what takes long; on anything else, a line at the end."""

from __future__ import annotations

import sys
import time
from typing import TextIO

WIDTH = 24
EVERY = 0.1
"""Seconds between two looks of it."""


class Bar:
    """Shows what is being done and which share of it is over, on standard error if that is a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._shown = self._out.isatty()
        self._last = -EVERY
        self._drawn = False

    def __call__(self, what: str, share: float) -> None:
        """Show it."""
        now = time.monotonic()
        if not self._shown or (now - self._last < EVERY and share < 1.0):
            return
        self._last, self._drawn = now, True
        share = min(1.0, max(0.0, share))
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
