"""Lock for work that holds Python's interpreter for milliseconds, such as decoding spans."""

from __future__ import annotations

import threading

CPU_LOCK = threading.Lock()
"""Held during such work, and never while waiting for anything else.

The interpreter switches threads every half a millisecond. Two such threads that take turns both end later than one
after the other, and cost a sixth more CPU time, because each evicts the other's data from the processor's caches.
"""
