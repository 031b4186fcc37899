"""Playback of a device script: state of its GPUs at any time, a pure function of events and time."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from foreshock_exporter.script.events import Device, Event, XidError
from foreshock_exporter.script.gpu import MICROSECONDS, PlayedGpu, after_action, described_gpu
from foreshock_exporter.script.lines import Script

MAX_XIDS = 256
"""XIDs kept; earlier ones are only counted."""
MAX_RECENT_STATES = 1024
"""Cached states, for times shortly before the latest."""
RECENT_STATES_US = 2_000_000
"""Age of the oldest cached state in µs; earlier times replay the script."""
MAX_PAST_EVENTS = 10_000
"""Past events of a live script that are kept; earlier times return the state after dropped ones."""
MAX_EVENTS_KEPT = 100_000
"""Limit of past and future events together."""


class ScriptedXid(NamedTuple):
    """XID error: Unix seconds, GPU index, number."""

    time: float
    gpu: int
    xid: int


@dataclass(frozen=True, slots=True)
class PlayedHost:
    """All GPUs after the last event at `us`; `next_event` is the number of the next one."""

    us: int = 0
    next_event: int = 0
    gpus: tuple[PlayedGpu, ...] = ()
    xids: tuple[ScriptedXid, ...] = ()
    xids_before: int = 0
    """Number of XIDs before the first of `xids`."""


class Playback:
    """Script that starts at `start` (Unix seconds). Thread-safe; accepts times in any order."""

    def __init__(self, script: Script, start: float) -> None:
        self.header = script.header
        self.start_us = round(start * MICROSECONDS)
        self._loop_us = None if script.header.loop is None else round(script.header.loop * MICROSECONDS)
        self._lock = threading.Lock()
        self._events = [(round(event.at * MICROSECONDS), event) for event in script.events]
        self._dropped = 0
        self._earliest = PlayedHost()
        self._recent: deque[PlayedHost] = deque((self._earliest,), MAX_RECENT_STATES)

    def feed(self, event: Event) -> None:
        """Add an event, after those of the same time.

        Raises:
            ValueError: the script loops, or there are too many events.
        """
        if self._loop_us is not None:
            raise ValueError("a script that loops takes no more events; leave loop out of its header")
        with self._lock:
            if len(self._events) >= MAX_EVENTS_KEPT:
                raise ValueError(f"{MAX_EVENTS_KEPT} events wait for their time already; send them when they happen")
            at = max(round(event.at * MICROSECONDS), self._earliest.us)
            index = bisect.bisect_right(self._events, at, key=lambda entry: entry[0])
            self._events.insert(index, (at, event))
            while self._recent and self._recent[-1].next_event > self._dropped + index:
                self._recent.pop()
            if not self._recent:
                self._recent.append(self._earliest)
            oldest = self._recent[0]
            happened = oldest.next_event - self._dropped
            if happened > MAX_PAST_EVENTS:
                del self._events[:happened]
                self._dropped, self._earliest = oldest.next_event, oldest

    def state_at(self, time: float) -> tuple[PlayedHost, int]:
        """State after the last event before a time, and the time in µs from the start."""
        us = max(0, round(time * MICROSECONDS) - self.start_us)
        with self._lock:
            state = next((state for state in reversed(self._recent) if state.us <= us), self._earliest)
            while (next_due := self._next_due(state.next_event)) is not None and next_due[0] <= us:
                state = _after(state, next_due[0], next_due[1], self.header.host, self.start_us)
                if state.next_event > self._recent[-1].next_event:
                    self._recent.append(state)
                    while len(self._recent) > 1 and self._recent[1].us < state.us - RECENT_STATES_US:
                        self._recent.popleft()
        return state, max(us, state.us)

    def _next_due(self, number: int) -> tuple[int, Event | None] | None:
        """Time and event by number; no event for one that is not repeated."""
        if self._loop_us is None:
            index = number - self._dropped
            return self._events[index] if index < len(self._events) else None
        if not self._events:
            return None
        turn, index = divmod(number, len(self._events))
        at, event = self._events[index]
        return at + turn * self._loop_us, None if event.once and turn else event


def _after(state: PlayedHost, us: int, event: Event | None, host: str, start_us: int) -> PlayedHost:
    """State after one more event; None is an event that is not repeated."""
    later = replace(state, us=us, next_event=state.next_event + 1)
    if event is None:
        return later
    index, gpus = event.gpu, state.gpus
    before = gpus[index] if index < len(gpus) else None
    if isinstance(event.action, Device):
        gpu = described_gpu(host, index, event.action, us, before)
    elif before is None:
        return later
    elif isinstance(event.action, XidError):
        xids = (*state.xids, ScriptedXid((start_us + us) / MICROSECONDS, index, event.action.xid))
        return replace(later, xids=xids[-MAX_XIDS:], xids_before=state.xids_before + max(0, len(xids) - MAX_XIDS))
    else:
        gpu = after_action(before, event.action, us)
    return replace(later, gpus=(*gpus[:index], gpu, *gpus[index + 1 :]))
