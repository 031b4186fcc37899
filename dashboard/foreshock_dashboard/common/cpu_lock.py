"""Turns of work that holds Python's interpreter for milliseconds, such as decoding spans: one thread at a time.

Two that take turns every half a millisecond, as the interpreter makes them, are both done later than one after the
other, and cost a sixth more: each finds the processor's caches full of what the other left there.
"""

from __future__ import annotations

import threading

CPU_LOCK = threading.Lock()
"""Held for such a piece of work, and never while waiting for anything else."""
