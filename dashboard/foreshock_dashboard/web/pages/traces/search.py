"""Trace lists by GPU wait.

No index has the wait: it is computed for a bounded number of candidates, the slowest traces that match otherwise. A
trace that waited long is slow.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from foreshock_dashboard.model.query import note_of
from foreshock_dashboard.model.span import TraceQuery, TraceSource, TraceSummary
from foreshock_dashboard.web.pages.traces.gpu_time import SETTLED_AFTER_SECONDS, GpuTimes
from foreshock_dashboard.web.pages.traces.parameters import WaitFilter

MAX_CANDIDATES = 500
"""Largest number of traces per list for which the GPU wait is computed."""
WAITS_TIMEOUT_SECONDS = 1.5
"""Time after which a list shows the waits that were read so far."""
MAX_CACHED_WAITS = 10_000
TIMEOUT_SECONDS = 8.0
"""Time after which the list consists of the traces that were read so far."""


@dataclass(frozen=True, slots=True)
class TracesByWait:
    """A list by wait: seconds by trace id (None: not known to have run on a shared GPU).

    looked_at: traces whose wait was computed. bounded: the list may be incomplete, because more traces matched, or not
    all GPU time could be read. note: the source's note on its completeness.
    """

    found: tuple[TraceSummary, ...]
    seconds: Mapping[str, float | None]
    looked_at: int
    bounded: bool
    note: str = ""


class WaitCache:
    """GPU waits of listed traces; settled ones are cached. Thread-safe."""

    def __init__(self, times: GpuTimes, timer: Callable[[], float] = time.monotonic) -> None:
        self._times, self._timer = times, timer
        self._known: OrderedDict[str, float | None] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, traces: Sequence[TraceSummary], now: float) -> Mapping[str, float | None]:
        """Seconds of GPU wait by trace id; None where a trace is not known to have run on a shared GPU.

        Traces beyond the timeout, and those so young at `now` (Unix seconds) that more may arrive, are left out.
        """
        deadline, waits = self._timer() + WAITS_TIMEOUT_SECONDS, {}
        for trace in traces:
            with self._lock:
                known = trace.trace_id in self._known
                waited = self._known.get(trace.trace_id)
            if not known:
                if now - trace.start - trace.duration < SETTLED_AFTER_SECONDS or (left := deadline - self._timer()) < 0:
                    continue
                gpu_time = self._times.of_trace(trace.trace_id, left)
                waited, is_final = gpu_time.waited, gpu_time.settled and not gpu_time.left_out
                if waited is None and not is_final:
                    continue
                if is_final and not gpu_time.error:
                    with self._lock:
                        self._known[trace.trace_id] = waited
                        while len(self._known) > MAX_CACHED_WAITS:
                            self._known.popitem(last=False)
            waits[trace.trace_id] = waited
        return waits


def by_wait(
    source: TraceSource,
    times: GpuTimes,
    query: TraceQuery,
    wait_filter: WaitFilter,
    timer: Callable[[], float] = time.monotonic,
) -> TracesByWait:
    """List traces by their wait.

    Raises:
        SourceError: the trace source cannot answer.
    """
    candidates = source.search(replace(query, order="slowest", limit=MAX_CANDIDATES))
    deadline = timer() + TIMEOUT_SECONDS
    seconds: dict[str, float | None] = {}
    is_incomplete = False
    for summary in candidates:
        if (left := deadline - timer()) < 0:
            break
        gpu_time = times.of_trace(summary.trace_id, left)
        seconds[summary.trace_id] = gpu_time.waited
        is_incomplete = is_incomplete or gpu_time.left_out > 0
    least = wait_filter.least if wait_filter.least is not None else 0.0
    matching = [
        trace for trace in candidates if (waited := seconds.get(trace.trace_id)) is not None and waited >= least
    ]
    if wait_filter.first:
        matching.sort(key=lambda trace: (-(seconds[trace.trace_id] or 0.0), trace.trace_id))
    elif query.order == "newest":
        matching.sort(key=lambda trace: (-trace.start, trace.trace_id))
    bounded = is_incomplete or len(candidates) == MAX_CANDIDATES or len(seconds) < len(candidates)
    return TracesByWait(tuple(matching[: query.limit]), seconds, len(seconds), bounded, note_of(candidates))
