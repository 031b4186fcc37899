"""Sentences about a trace: how long it waited for a GPU and which service held it, and whether clocks agree."""

from __future__ import annotations

from foreshock_dashboard.analysis.traces.clock_skew import ClockOffset, ClockSkew
from foreshock_dashboard.analysis.traces.gpu_lanes import TraceLanes, Wait
from foreshock_dashboard.render.units import percent

MIN_WAIT_RATIO = 0.01
"""Ratio of a trace's time from which its wait for a GPU is worth a sentence."""
MAX_RESOLUTION_RATIO = 30.0
"""Resolution of the samples over the time they describe, beyond which they say nothing about it."""
MAX_HOSTS = 3
"""Hosts that a sentence names."""


def wait_sentence(lanes: TraceLanes) -> str:
    """How long a trace waited for a GPU, and which service held it; "" where that is not known well enough."""
    worst = lanes.longest
    if worst is None or worst.split.resolution > MAX_RESOLUTION_RATIO * worst.split.length:
        return ""
    held, total = worst.split, max(lanes.duration, worst.split.length)
    if held.waited <= MIN_WAIT_RATIO * total:
        return _nothing(worst, total) if worst.quality == "measured" else ""
    service, most = next(iter(held.others.items()))
    amount = _of(held.waited, total)
    start = amount if worst.quality == "measured" and held.exact else f"up to {amount}"
    text = f"{_quality(worst)}{start} waited for {_where(worst)}{_seen(worst)}"
    share = percent(most / held.waited)
    return f"{text[0].upper()}{text[1:]}; {share} of that it ran {service}."


def clock_note(skew: ClockSkew) -> str:
    """The offsets between the clocks of a trace's hosts in a sentence; "" if they agree."""
    if not skew.hosts:
        return ""
    named = list(map(_offset, skew.hosts[:MAX_HOSTS]))
    more = f" and those of {len(skew.hosts) - MAX_HOSTS} others differ" if len(skew.hosts) > MAX_HOSTS else ""
    return f"Against the clock of {skew.host}, {', '.join(named)}{more}: times of different hosts cannot be compared."


def _offset(host: ClockOffset) -> str:
    if host.seconds is None:
        return f"that of {host.host} differs"
    return f"that of {host.host} is {abs(host.seconds):,.2f} s {'ahead' if host.seconds > 0 else 'behind'}"


def _nothing(worst: Wait, total: float) -> str:
    if worst.split.others:
        return f"At most {_of(worst.split.waited, total)} waited for {_where(worst)}."
    return f"It did not wait for {_where(worst)}: no other service was seen to hold it meanwhile."


def _quality(worst: Wait) -> str:
    if worst.quality == "measured":
        return ""
    if worst.occupancy_quality == "inferred":
        return "inferred from counters: "
    return f"inferred by {worst.matched_by}: "


def _where(worst: Wait) -> str:
    first, count = worst.gpus[0], len(worst.gpus)
    return first.label if count == 1 else f"one of {count} GPUs of {first.host} (mean of all)"


def _seen(worst: Wait) -> str:
    """The resolution, if the stated time is not much longer."""
    coarse = 2.0 * worst.split.resolution > worst.split.length
    return f" (seen at a resolution of {_short(worst.split.resolution)})" if coarse else ""


def _short(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"


def _of(part: float, whole: float) -> str:
    """`490 of 1,000 ms`, `4.90 of 12.3 s`."""
    if whole < 10:
        return f"{part * 1000:,.0f} of {whole * 1000:,.0f} ms"
    return f"{part:.1f} of {whole:.1f} s"
