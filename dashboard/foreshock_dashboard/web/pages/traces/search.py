"""Lists of traces by how long they waited for a GPU.

No index knows that: it is computed, over a bounded number of candidates, the slowest of those that match otherwise. A
trace that waited long is slow.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from foreshock_dashboard.model.partial import note_of
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.web.pages.traces.gpu_time import SETTLED_AFTER_SECONDS, GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import WaitFilter

MAX_CANDIDATES = 500
"""Traces looked at for one list."""
WAITS_TIMEOUT_SECONDS = 1.5
"""Seconds after which the waits of a list are those that were read so far."""
MAX_CACHED_WAITS = 10_000
"""Traces whose wait is remembered."""
TIMEOUT_SECONDS = 8.0
"""Seconds after which the list is made of those looked at so far."""


@dataclass(frozen=True, slots=True)
class TracesByWait:
    """A list by wait: seconds by trace id (None: not known to have run on a shared GPU).

    looked_at: traces whose wait was computed. bounded: more matched than were looked at, or of one that was not all of
        its GPUs' time could be read: the list may lack some.
    note: what the source says of its own completeness.
    """

    found: tuple[TraceSummary, ...]
    seconds: Mapping[str, float | None]
    looked_at: int
    bounded: bool
    note: str = ""


class WaitCache:
    """Seconds that traces of a list waited for a GPU; what will not change any more is remembered. Thread-safe."""

    def __init__(self, times: GpuTimes, timer: Callable[[], float] = time.monotonic) -> None:
        self._times, self._timer = times, timer
        self._known: OrderedDict[str, float | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, found: Sequence[TraceSummary], now: float) -> Mapping[str, float | None]:
        """By trace id; None: not known to have run on a shared GPU.

        Left out are those there was no time for, and those so young at `now` (Unix seconds) that more may come.
        """
        deadline, told = self._timer() + WAITS_TIMEOUT_SECONDS, {}
        for each in found:
            with self._lock:
                known = each.trace_id in self._known
                waited = self._known.get(each.trace_id)
            if not known:
                if now - each.start - each.duration < SETTLED_AFTER_SECONDS or (left := deadline - self._timer()) < 0:
                    continue
                seen = self._times.of_trace(each.trace_id, left)
                waited, sure = seen.waited, seen.settled and not seen.left_out
                if waited is None and not sure:
                    continue
                if sure and not seen.error:
                    with self._lock:
                        self._known[each.trace_id] = waited
                        while len(self._known) > MAX_CACHED_WAITS:
                            self._known.popitem(last=False)
            told[each.trace_id] = waited
        return told


def by_wait(
    source: TraceSource,
    times: GpuTimes,
    query: TraceQuery,
    wanted: WaitFilter,
    timer: Callable[[], float] = time.monotonic,
) -> TracesByWait:
    """List traces by their wait.

    Raises:
        SourceError: the trace source cannot answer.
    """
    candidates = source.search(replace(query, order="slowest", limit=MAX_CANDIDATES))
    deadline = timer() + TIMEOUT_SECONDS
    seconds: dict[str, float | None] = {}
    cut = False
    for summary in candidates:
        if (left := deadline - timer()) < 0:
            break
        seen = times.of_trace(summary.trace_id, left)
        seconds[summary.trace_id] = seen.waited
        cut = cut or seen.left_out > 0
    least = wanted.least if wanted.least is not None else 0.0
    found = [each for each in candidates if (waited := seconds.get(each.trace_id)) is not None and waited >= least]
    if wanted.first:
        found.sort(key=lambda each: (-(seconds[each.trace_id] or 0.0), each.trace_id))
    elif query.order == "newest":
        found.sort(key=lambda each: (-each.start, each.trace_id))
    bounded = cut or len(candidates) == MAX_CANDIDATES or len(seconds) < len(candidates)
    return TracesByWait(tuple(found[: query.limit]), seconds, len(seconds), bounded, note_of(candidates))
