"""An explanation in words: what was found, what was compared, and which questions stay open."""

from __future__ import annotations

from collections.abc import Iterator

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.units import counted, utc_timestamp
from foreshock_dashboard.render.words.signals import SIGNAL_KINDS, UNKNOWN_WITHOUT

MAX_CHANGES = 3
"""Changes that are named, the newest ones."""


def heading(answer: Json) -> str:
    """The sentence above the ranked services."""
    service, when = answer["service"], utc_timestamp(answer["at"])
    if answer["candidates"]:
        whose = f" for {in_words(service)}" if service else ""
        likely = "Possible" if answer["confidence"] == "low" else "Likely"
        return f"{likely} root causes{whose} at {when}. Confidence: {answer['confidence']}."
    verdict = f"{in_words(service)} is not clearly anomalous" if service else "No service is clearly anomalous"
    return f"{verdict} at {when}.{' Closest, with low confidence:' if answer['weak_candidates'] else ''}"


def below(answer: Json) -> Iterator[str]:
    """The sentences below them: what was compared with its baseline, and what stays unknown without more data."""
    if signals := answer["signals"]:
        kinds = ", ".join(f"{SIGNAL_KINDS[row['kind']]} {row['series']:,}" for row in signals)
        series = sum(row["series"] for row in signals)
        services = counted(max(row["services"] for row in signals), "service")
        times = [utc_timestamp(answer[part][end]) for part in ("analyzed", "baseline") for end in ("start", "end")]
        yield "Analyzed: {} to {}. Baseline: {} to {}.".format(*times)
        yield f"Compared: {counted(series, 'series', 'series')} from up to {services} ({kinds})."
    if changes := answer.get("changes"):
        shown = "; ".join(f"{row['text']} at {utc_timestamp(row['at'])}" for row in changes[:MAX_CHANGES])
        more = f"; +{len(changes) - MAX_CHANGES} more" if len(changes) > MAX_CHANGES else ""
        yield f"Changes in the 30 min before: {shown}{more}."
    for kind in answer["missing"]:
        yield f"No {SIGNAL_KINDS[kind]} data, so it is unknown {UNKNOWN_WITHOUT[kind]}."
