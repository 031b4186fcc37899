"""Sentences about a trace: what took its time, how long it waited for a GPU, and whether clocks agree."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_dashboard.analysis.traces.clock_skew import ClockOffset, ClockSkew
from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes, Wait
from foreshock_dashboard.analysis.traces.time_breakdown import TimePart
from foreshock_dashboard.render.clause import filled_text, in_words
from foreshock_dashboard.render.units import counted, duration, percent
from foreshock_dashboard.render.words.traces import ACTIVITIES, TRACE_TEXTS

MIN_WAIT_RATIO = 0.01
"""Share of a trace's duration from which its GPU wait is worth a sentence."""
MAJORITY_RATIO = 0.5
"""Share of a trace's duration from which one part of it is most of it."""
MAX_RESOLUTION_RATIO = 30.0
"""Resolution of the samples over the time they describe, beyond which they say nothing about it."""
SOLE_RATIO = 0.995
"""Share of a GPU wait from which one neighbor is all of it."""
MAX_HOSTS = 3
"""Hosts that a sentence names."""


def trace_sentence(parts: Sequence[TimePart], lanes: TraceLanes, *, settled: bool = True) -> str:
    """What took most of a trace's duration, and its GPU wait; "" for a trace without duration.

    settled: all GPU samples have arrived; before, only a wait that is already certain is stated.
    """
    longest = lanes.longest
    wait = wait_sentence(lanes) if settled or (longest and longest.split.others) else ""
    if wait and longest is not None and longest.split.waited >= MAJORITY_RATIO * _total(longest, lanes):
        return wait
    return " ".join(text for text in (_longest_part(parts) if parts else "", wait) if text)


def wait_sentence(lanes: TraceLanes) -> str:
    """How long a trace waited for a GPU, and which service used it; "" where that is not known well enough."""
    worst = lanes.longest
    if worst is None or worst.split.length <= 0:
        return ""
    if worst.split.resolution > MAX_RESOLUTION_RATIO * worst.split.length:
        apart = f"GPU samples are {duration(worst.split.resolution)} apart"
        return filled_text(TRACE_TEXTS["wait_unknown"], reason=apart)
    split, total = worst.split, _total(worst, lanes)
    if split.waited <= MIN_WAIT_RATIO * total:
        return _no_wait(worst, total, lanes) if worst.quality == "measured" else ""
    is_exact = worst.quality == "measured" and split.exact
    amount = f"{'' if is_exact else 'up to '}{duration(split.waited)} of {_total_text(total, lanes)}"
    service, most = next(iter(split.others.items()))
    mostly = "" if most >= SOLE_RATIO * split.waited else ", mostly"
    notes = f" ({', '.join(notes)})" if (notes := _notes(worst)) else ""
    busy = f"{mostly} while {in_words(service)} was running{notes}"
    return f"GPU wait {amount} ({percent(split.waited / total)}) on {_where(worst)}{busy}."


def _total(worst: Wait, lanes: TraceLanes) -> float:
    """The duration that a wait is a share of: the trace's, or the time on the GPU where that is longer."""
    return max(lanes.duration, worst.split.length)


def _total_text(total: float, lanes: TraceLanes) -> str:
    """A total, and what it is of unless it is the trace's duration."""
    text = duration(total)
    return text if text == duration(lanes.duration) else f"{text} of GPU work"


def _longest_part(parts: Sequence[TimePart]) -> str:
    """The longest part, where the failed calls of all services are one."""
    total = sum(part.seconds for part in parts)
    failed = [part for part in parts if part.activity == "failed_calls"]
    failed_seconds = sum(part.seconds for part in failed)
    other = max((part for part in parts if part not in failed), key=lambda part: part.seconds, default=None)
    if other is None or failed_seconds >= other.seconds:
        what, seconds = _failed_calls(failed), failed_seconds
    else:
        what = filled_text(TRACE_TEXTS["in_service"], activity=ACTIVITIES[other.activity], service=other.service)
        seconds = other.seconds
    share = seconds / total if total > 0 else 0.0
    lead = "Mostly" if share >= MAJORITY_RATIO else "Longest part:"
    return f"{lead} {what}: {duration(seconds)} of {duration(total)} ({percent(share)})."


def _failed_calls(parts: Sequence[TimePart]) -> str:
    failure = "timeouts" if any(part.timed_out for part in parts) else ACTIVITIES["failed_calls"]
    retries = " and retries" if any(part.retried for part in parts) else ""
    others = f" and {counted(len(parts) - 1, 'other service')}" if len(parts) > 1 else ""
    return filled_text(TRACE_TEXTS["in_service"], activity=failure + retries, service=parts[0].service) + others


def clock_note(skew: ClockSkew) -> str:
    """The offsets between the clocks of a trace's hosts in a sentence; "" if they agree."""
    if not skew.hosts:
        return ""
    named = list(map(_offset, skew.hosts[:MAX_HOSTS]))
    more = f" and {len(skew.hosts) - MAX_HOSTS} more hosts" if len(skew.hosts) > MAX_HOSTS else ""
    return f"Clock skew relative to {skew.host}: {', '.join(named)}{more}. Offsets between hosts are not comparable."


def _offset(host: ClockOffset) -> str:
    if host.seconds is None:
        return f"{host.host} by an unknown amount"
    return f"{host.host} {abs(host.seconds):,.2f} s {'ahead' if host.seconds > 0 else 'behind'}"


def _no_wait(worst: Wait, total: float, lanes: TraceLanes) -> str:
    if worst.split.others:
        return f"GPU wait: up to {duration(worst.split.waited)} of {_total_text(total, lanes)} on {_where(worst)}."
    return f"No GPU wait: no other service ran on {_where(worst)}."


def _notes(worst: Wait) -> list[str]:
    """How the wait was found where it was not measured, and the resolution where the wait is not much longer."""
    notes = []
    if worst.quality != "measured":
        by_counters = worst.occupancy_quality == "inferred"
        notes.append("inferred from counters" if by_counters else f"inferred by {worst.matched_by}")
    if 2.0 * worst.split.resolution > worst.split.length:
        notes.append(f"resolution {duration(worst.split.resolution)}")
    return notes


def _where(worst: Wait) -> str:
    first, count = worst.gpus[0], len(worst.gpus)
    return first.label if count == 1 else f"one of {count} GPUs of {first.host} (mean of all)"
