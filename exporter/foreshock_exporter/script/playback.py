"""Plays a device script: the state of its GPUs at any time. Answers follow from the events and the time alone."""

from __future__ import annotations

import bisect
import threading
from collections import deque
from dataclasses import dataclass, replace

from foreshock_exporter.script.driver_view import scripted_gpu
from foreshock_exporter.script.events import Device, Event, XidError
from foreshock_exporter.script.gpu import MICROSECONDS, PlayedGpu, after_action, described_gpu
from foreshock_exporter.script.lines import Script
from foreshock_exporter.script.state import ScriptedHost, ScriptedXid

MAX_XIDS = 256
"""XIDs that are remembered; of earlier ones, only how many there were."""
MAX_RECENT_STATES = 1024
"""States that are kept at hand at most, for those who ask for times that are not quite the latest."""
RECENT_STATES_US = 2_000_000
"""How far before the latest of them they go, in µs; for earlier times, all is played again."""
MAX_PAST_EVENTS = 10_000
"""Events of a live script that are kept after they happened; asked for times before them, it answers as of then."""
MAX_EVENTS_KEPT = 100_000
"""Events that can be fed ahead of their time, together with those that are kept."""


@dataclass(frozen=True, slots=True)
class PlayedHost:
    """All GPUs since the last event at `us`, which was the one before number `next_event`."""

    us: int = 0
    next_event: int = 0
    gpus: tuple[PlayedGpu, ...] = ()
    xids: tuple[ScriptedXid, ...] = ()
    xids_before: int = 0
    """How many came before the first of `xids`."""


class Playback:
    """A script from a start on, in Unix seconds. May be asked from several threads, for any time in any order."""

    def __init__(self, script: Script, start: float) -> None:
        self.header = script.header
        self.start_us = round(start * MICROSECONDS)
        self._loop_us = None if script.header.loop is None else round(script.header.loop * MICROSECONDS)
        self._lock = threading.Lock()
        self._events = [(round(event.at * MICROSECONDS), event) for event in script.events]
        self._dropped = 0
        self._first = PlayedHost()
        self._recent: deque[PlayedHost] = deque((self._first,), MAX_RECENT_STATES)

    def feed(self, event: Event) -> None:
        """Add an event, after those of its time and before. One of a GPU that no event described changes nothing.

        Raises:
            ValueError: the script loops, or too many events wait for their time.
        """
        if self._loop_us is not None:
            raise ValueError("a script that loops takes no more events; leave loop out of its header")
        with self._lock:
            if len(self._events) >= MAX_EVENTS_KEPT:
                raise ValueError(f"{MAX_EVENTS_KEPT} events wait for their time already; send them when they happen")
            at = max(round(event.at * MICROSECONDS), self._first.us)
            index = bisect.bisect_right(self._events, at, key=lambda entry: entry[0])
            self._events.insert(index, (at, event))
            while self._recent and self._recent[-1].next_event > self._dropped + index:
                self._recent.pop()
            if not self._recent:
                self._recent.append(self._first)
            self._forget()

    def at(self, time: float) -> ScriptedHost:
        """All GPUs at a time, in Unix seconds; before the start, those of the start."""
        state, us = self.moment(time)
        return ScriptedHost(
            time, tuple(scripted_gpu(gpu, us, self.start_us) for gpu in state.gpus), state.xids, state.xids_before
        )

    def moment(self, time: float) -> tuple[PlayedHost, int]:
        """What answers for a time follow from: the state after its last event, and it in µs from the start."""
        us = max(0, round(time * MICROSECONDS) - self.start_us)
        with self._lock:
            state = next((state for state in reversed(self._recent) if state.us <= us), self._first)
            while (due := self._due(state.next_event)) is not None and due[0] <= us:
                state = _after(state, due[0], due[1], self.header.host, self.start_us)
                if state.next_event > self._recent[-1].next_event:
                    self._remember(state)
        return state, max(us, state.us)

    def _remember(self, state: PlayedHost) -> None:
        self._recent.append(state)
        while len(self._recent) > 1 and self._recent[1].us < state.us - RECENT_STATES_US:
            self._recent.popleft()

    def _due(self, number: int) -> tuple[int, Event | None] | None:
        """When the event of a number happens, and what it is; no event where it happens only once and did."""
        if self._loop_us is None:
            index = number - self._dropped
            return self._events[index] if index < len(self._events) else None
        if not self._events:
            return None
        turn, index = divmod(number, len(self._events))
        at, event = self._events[index]
        return at + turn * self._loop_us, None if event.once and turn else event

    def _forget(self) -> None:
        """Drop the oldest events of a live script, when many more happened than there are states at hand."""
        oldest = self._recent[0]
        happened = oldest.next_event - self._dropped
        if happened > MAX_PAST_EVENTS:
            del self._events[:happened]
            self._dropped, self._first = oldest.next_event, oldest


def _after(state: PlayedHost, us: int, event: Event | None, host: str, start_us: int) -> PlayedHost:
    """The state after one more event; None is one that does not happen again."""
    later = replace(state, us=us, next_event=state.next_event + 1)
    if event is None:
        return later
    index, gpus = event.gpu, state.gpus
    before = gpus[index] if index < len(gpus) else None
    if isinstance(event.action, Device):
        new = described_gpu(host, index, event.action, us, before)
        return later if index > len(gpus) else replace(later, gpus=(*gpus[:index], new, *gpus[index + 1 :]))
    if before is None:
        return later
    if isinstance(event.action, XidError):
        xids = (*state.xids, ScriptedXid((start_us + us) / MICROSECONDS, index, event.action.xid))
        return replace(later, xids=xids[-MAX_XIDS:], xids_before=state.xids_before + max(0, len(xids) - MAX_XIDS))
    return replace(later, gpus=(*gpus[:index], after_action(before, event.action, us), *gpus[index + 1 :]))
