"""What is wrong, in one sentence for somebody who was just woken up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from foreshock_dashboard.analysis.contention import Pressure
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu


def gpu_list(gpus: Sequence[Gpu], most: int = 4) -> str:
    """`host-1/gpu-0 and gpu-1`, shortened to a count and the number of hosts when there are more than `most`."""
    if len(gpus) > most:
        return f"{len(gpus)} GPUs of {len({gpu.host for gpu in gpus})} hosts"
    return _join([gpu.label for gpu in gpus])


def contention_sentence(pair: Pressure, hurt: Sequence[Service], since: float) -> str:
    """Aggressor, victim, GPUs, since when, how much, and who else feels it."""
    text = (
        f"{pair.aggressor} starves {pair.victim} on {gpu_list(pair.gpus)} since {clock(since)} UTC: "
        f"p95 {duration(pair.p95)}, usually {duration(pair.p95_usual)}; "
        f"it waits up to {pair.stalled:.0%} of the time for {pair.aggressor}"
    )
    return f"{text}; {_join([str(who) for who in hurt])} slowed down too." if hurt else f"{text}."


def clock(seconds: float) -> str:
    """Unix seconds as the time of day in UTC: `08:41:20`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def duration(seconds: float) -> str:
    """Seconds with three digits at most: `85 ms`, `1.24 s`, `12.4 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"


def _join(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
