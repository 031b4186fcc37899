"""Values as text: times of day, durations, percentages, rates, forecasts, counts, and lists."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.words.incidents import BREACH_BUCKETS, BREACH_TEXTS
from foreshock_dashboard.render.words.services import SLO_NAMES
from foreshock_dashboard.stats.rounding import six_digits

MAX_LATENCY_SECONDS = 999.5
"""Latency below which it is shown in seconds, as SLOs are: its three digits."""


def gpu_list(gpus: Sequence[Gpu], most: int = 4) -> str:
    """`host-1/gpu-0 and gpu-1`; for more than `most`, the numbers of GPUs and hosts."""
    if len(gpus) > most:
        return f"{len(gpus)} GPUs on {counted(len({gpu.host for gpu in gpus}), 'host')}"
    return " and ".join(part for part in (", ".join(gpu.label for gpu in gpus[:-1]), gpus[-1].label) if part)


def host_list(hosts: Sequence[str], most: int = 3) -> str:
    """`host-1, host-2 and host-3`; for more than `most`, their number."""
    if len(hosts) > most:
        return counted(len(hosts), "host")
    return " and ".join(filter(None, (", ".join(hosts[:-1]), hosts[-1])))


def clock(seconds: float) -> str:
    """Time of day of Unix seconds, UTC: `12:34:56`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")


def utc_timestamp(seconds: float) -> str:
    """Unix seconds as text: `2026-01-05 08:41:20 UTC`."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float, more: int = 0) -> str:
    """A latency with at most three digits, as the pages show it: `85 ms`, `1.24 s`, `594 s`; then as `elapsed`.

    more: further decimals. Of the value as JSON has it, as in `significant`.
    """
    seconds = six_digits(seconds)
    if seconds < 1:
        return f"{seconds * 1000:.{more}f} ms"
    if seconds < MAX_LATENCY_SECONDS:
        return f"{seconds:.{more + (2 if seconds < 10 else 1 if seconds < 100 else 0)}f} s"
    return elapsed(seconds)


def apart(value: float, reference: float, show: Callable[[float, int], str]) -> tuple[str, str]:
    """A value and its reference, with one more decimal where they would print alike: `50.4 ms` and `49.9 ms`."""
    shown = show(value, 0), show(reference, 0)
    return (show(value, 1), show(reference, 1)) if shown[0] == shown[1] and value != reference else shown


def elapsed(seconds: float) -> str:
    """A length of time, as the pages show it, in at most two units: `9 min 30 s`, `12 min`, `2 h 5 min`.

    Rounded to the second, from ten minutes on to the minute, and from a day on to the hour.
    """
    whole = max(0, _rounded(seconds, 1))
    if whole < 60:
        return f"{whole} s"
    if whole < 600:
        return _in_units(whole, (60, "min"), (1, "s"))
    whole = _rounded(seconds, 60)
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86400:
        return _in_units(whole, (3600, "h"), (60, "min"))
    return _in_units(_rounded(seconds, 3600), (86400, "d"), (3600, "h"))


def _rounded(seconds: float, unit: int) -> int:
    """Seconds to the nearest whole unit, a half up."""
    return math.floor(seconds / unit + 0.5) * unit


def _in_units(seconds: int, large: tuple[int, str], small: tuple[int, str]) -> str:
    rest = seconds % large[0] // small[0]
    return f"{seconds // large[0]} {large[1]}{f' {rest} {small[1]}' if rest else ''}"


def estimate(count: float) -> str:
    """An estimated count with two significant digits: `1,200`."""
    return f"{_estimated(count):,.0f}"


def estimates(count: float, total: float, scope: str = "") -> str:
    """A part of an estimated total, with the ratio of what is shown: `1,300 of 2,800 requests (46% since then)`."""
    part, whole = float(f"{_estimated(count):.0f}"), _estimated(total)
    return f"{part:,.0f} of {whole:,.0f} requests ({percent(part / whole)}{scope})"


def _estimated(count: float) -> float:
    return float(f"{count:.2g}")


def percent(share: float, more: int = 0) -> str:
    """A ratio in percent: `46%`, `0.7%`, `<0.1%`. more: further decimals. Of the value as JSON has it."""
    value = six_digits(share) * 100
    if 0 < value < 0.05:
        return "<0.1%"
    return f"{value:.{more + (0 if value == 0 or value >= 10 else 1)}f}%"


def significant(value: float) -> str:
    """A number with three significant digits, without an exponent from 0.0001 on: `0.52`, `14.6`, `1,250`.

    Of the value as JSON has it: pages show the same number, also of 11.35000001.
    """
    value = six_digits(value)
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def rate(per_second: float) -> str:
    """A request rate: `14 req/s`."""
    return f"{significant(per_second)} req/s"


def slo_name(*, learned: bool) -> str:
    """What an SLO is called beside a value."""
    return SLO_NAMES["learned" if learned else "set"]


def breach_bucket(seconds: float) -> str:
    """When an SLO breach is forecast, by its median in seconds: `imminent`, `median < 5 min`, …, `median > 30 min`."""
    return next((words for limit, words in BREACH_BUCKETS.items() if seconds < limit), BREACH_TEXTS["later"])


def breach_forecast(low: float, median: float, high: float) -> str:
    """The same with the 80% interval, in seconds: `imminent, 80% interval: 10 s to 3 min`.

    Times are infinite beyond the horizon. low: NaN or infinite without an interval.
    """
    return ", ".join(filter(None, (breach_bucket(median), forecast_interval(low, high))))


def forecast_interval(low: float, high: float) -> str:
    """The 80% interval of a forecast, in seconds: `80% interval: 10 s to 3 min`; "" if `low` is NaN or infinite."""
    return f"{BREACH_TEXTS['interval']} {_interval(low, high)}" if math.isfinite(low) else ""


def _interval(low: float, high: float) -> str:
    """`2 to 9 min`, `40 s to 6 min`, `about 10 s`."""
    first, last = _about(low), _about(high)
    if first == last:
        return f"about {first}"
    is_one_unit = first.endswith(" min") and last.endswith(" min") and last != BREACH_TEXTS["beyond"]
    return f"{first.removesuffix(' min') if is_one_unit else first} to {last}"


def _about(seconds: float) -> str:
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 1800 else BREACH_TEXTS["beyond"]


def headroom_ratio(load: float, safe: float) -> float:
    """The headroom as a share of the safe limit, negative above it: of both as `percent` shows them, so that it can be
    recalculated.
    """
    shown = _shown_percent(safe)
    return 1 - (_shown_percent(load) / shown if shown else load / safe)


def _shown_percent(share: float) -> float:
    value = six_digits(share) * 100
    return float(f"{value:.{0 if value >= 10 else 1}f}")


def load_percent(ratio: float) -> str:
    """Load as a share of capacity: `82%`, and beyond it `> 100%`.

    Beyond capacity a queue grows, and by how much load exceeds it differs by whether queued requests count.
    """
    return percent(ratio) if ratio <= 1 else "> 100%"


def multiple(ratio: float) -> str:
    """A ratio above one, shown with an `x`: `12`, `2.3`, `1.04`; never `1.0`."""
    if ratio >= 9.95:
        return f"{ratio:.0f}"
    return f"{ratio:.1f}" if ratio >= 1.1 else f"{max(ratio, 1.01):.2f}"


def minutes_of(seconds: float, of_seconds: float) -> str:
    """Progress in whole minutes, rounded down: `12 of 30 min`."""
    return f"{seconds // 60:.0f} of {of_seconds / 60:.0f} min"


def plural(count: float, singular: str, plural_form: str = "") -> str:
    """The singular for a count of one, else the plural; by default the singular with `s`."""
    return singular if count == 1 else plural_form or f"{singular}s"


def capitalized(sentence: str) -> str:
    """A sentence with its first letter in upper case: names within it stay as they are."""
    return sentence[:1].upper() + sentence[1:]


def counted(count: float, singular: str, plural_form: str = "") -> str:
    """A count with its noun: `1 GPU`, `1,250 GPUs`."""
    return f"{count:,.0f} {plural(count, singular, plural_form)}"


def name_list(names: Sequence[str]) -> str:
    """`a, b, c and 2 more`: up to three names, and the number of the others."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"


def printable(text: str) -> str:
    """Text from the network without control characters, which a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)
