"""Query parameters: text from anyone into values, or an error that names the parameter and the remedy."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, get_args

from starlette.datastructures import QueryParams

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Status, TraceQuery
from foreshock_dashboard.settings.option_types import parse_duration, parse_time

DEFAULT_RANGE = 900.0
"""Seconds before now that a trace list covers when no `start` is given."""
LONGEST = 200
"""Characters that a name in a parameter may have."""
TRACE_PARAMETERS = (
    "service",
    "operation",
    "attribute",
    "min_duration",
    "max_duration",
    "min_gpu_wait",
    "status",
    "errors",
    "order",
    "limit",
    "start",
    "end",
    "waits",
)
SPAN_PARAMETERS = ("limit", "offset")
MOST_SPANS = 5000
"""Spans of one trace in one answer; what is left out is counted, and comes in the next."""

BY_WAIT = "gpu_wait"
"""The order that no source knows; sources are then asked for the slowest (`trace_search`)."""

T = TypeVar("T")
_RELATIVE = re.compile(r"now(?:-(\d+(?:\.\d+)?(?:ms|s|m|h|d)))?(?:/([mhd]))?")
_MILLISECONDS = re.compile(r"\d{12,14}")
_LAST = 7_258_118_400.0
_STATUSES: tuple[Status, ...] = get_args(Status)
_ROUND = {"m": 60.0, "h": 3600.0, "d": 86_400.0}
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


class SpanPage(NamedTuple):
    """Which of a trace's spans, by start, are wanted: `limit` of them from the one at `offset` on."""

    offset: int = 0
    limit: int = MOST_SPANS


FIRST = SpanPage()
"""The first of them."""


class BadParameterError(ValueError):
    """A parameter cannot be used. The message names it, its value and the remedy."""


def only(given: Mapping[str, str], known: tuple[str, ...]) -> None:
    """Refuse parameters that nobody reads: a misspelt filter must not look like one that matched everything."""
    for name in given:
        if name not in known:
            hint = f"use one of {', '.join(known)}" if known else "this address takes none"
            raise BadParameterError(f"unknown parameter {name[:LONGEST]!r}: {hint}")


def _read(given: Mapping[str, str], name: str, read: Callable[[str], T], default: T) -> T:
    text = given.get(name, "").strip()
    if not text:
        return default
    if len(text) > LONGEST:
        raise BadParameterError(f"{name} is longer than {LONGEST} characters: shorten it")
    try:
        return read(text)
    except ValueError as error:
        raise BadParameterError(f"{name}={text[:LONGEST]!r}: {error}") from None


def _attributes(given: Mapping[str, str]) -> dict[str, str]:
    """`attribute` may be given several times, once for each key."""
    texts = given.getlist("attribute") if isinstance(given, QueryParams) else [given.get("attribute", "")]
    pairs = [_read({"attribute": text}, "attribute", _attribute, ("", "")) for text in texts if text.strip()]
    keys = [key for key, _ in pairs]
    if twice := sorted({key for key in keys if keys.count(key) > 1}):
        raise BadParameterError(
            f"attribute: {twice[0]} is given twice, and no span has two values of it: leave one out"
        )
    return dict(pairs)


def _attribute(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise ValueError("is not KEY=VALUE, such as hw.id=GPU-8932f937")
    return key, value


def _duration(text: str) -> float | None:
    return None if re.fullmatch(r"0+(\.0+)?(ms|s|m|h|d)?", text) else parse_duration(text)


def _flag(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("is neither true nor false")
    return text.lower() in ("true", "1")


def _order(text: str) -> Literal["slowest", "newest"]:
    if text in ("slowest", BY_WAIT):
        return "slowest"
    if text == "newest":
        return "newest"
    raise ValueError(f"is neither slowest nor newest nor {BY_WAIT}")


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise ValueError(f"is not a whole number from {least} to {most}")
        return int(text)

    return read


def time_of(text: str, now: float, up: bool = False) -> float:
    """`now`, `now-15m`, `now/d`, Unix seconds or milliseconds, or ISO 8601 with a time zone, in Unix seconds.

    This is Grafana's grammar: `/d` rounds to a day of UTC, down or, with `up`, to its end.

    Raises:
        ValueError: it is none of these.
    """
    if match := _RELATIVE.fullmatch(text):
        time = now - (parse_duration(match[1]) if match[1] else 0.0)
        if size := _ROUND.get(match[2] or ""):
            time = (math.ceil(time / size) if up else math.floor(time / size)) * size
    elif _MILLISECONDS.fullmatch(text):
        time = int(text) / 1000
    else:
        try:
            time = parse_time(text)
        except (ValueError, OverflowError) as error:
            raise ValueError(f"{error}; or write now-15m") from None
    if not 0 <= time <= _LAST:
        raise ValueError("is not between the years 1970 and 2200; write now-15m")
    return time


def time_parameter(given: Mapping[str, str], name: str, now: float, default: float, up: bool = False) -> float:
    """A parameter that is a time, as `time_of` reads it.

    Raises:
        BadParameterError: it cannot be read.
    """
    return _read(given, name, lambda text: time_of(text, now, up), default)


def service_named(text: str, known: Collection[Service]) -> Service | None:
    """The service that a name means; None where it has no namespace and nobody known has the name.

    Raises:
        ValueError: several services have the name.
    """
    named = Service.parse(text)
    if "/" in text:
        return named
    meant = sorted(service for service in known if service.name == text)
    if len(meant) > 1 and named not in meant:
        raise ValueError(f"several services have this name; write one of {', '.join(map(str, meant))}")
    return meant[0] if meant else None


def trace_query(given: Mapping[str, str], now: float, known: Collection[Service] = ()) -> TraceQuery:
    """What a trace list's parameters ask for; the last 15 minutes before `now` unless they say otherwise.

    `known` are the services that a name without a namespace may mean. They are those of today: traces may be of others,
    so a name that none of them has is looked for in any namespace.

    Raises:
        BadParameterError: a parameter is unknown or malformed, or the range is upside down.
    """
    only(given, TRACE_PARAMETERS)
    end = _read(given, "end", lambda text: time_of(text, now), now)
    start = _read(given, "start", lambda text: time_of(text, now), end - DEFAULT_RANGE)
    if start > end:
        raise BadParameterError(f"start={start:.0f} lies after end={end:.0f}: exchange them")
    least = _read(given, "min_duration", _duration, None)
    most = _read(given, "max_duration", _duration, None)
    if least is not None and most is not None and least > most:
        raise BadParameterError("min_duration is longer than max_duration: exchange them")
    wanted = given.get("service", "").strip()
    service = _read(given, "service", lambda text: service_named(text, known), None)
    return TraceQuery(
        start=start,
        end=end,
        service=service or (Service("", wanted) if wanted else None),
        any_namespace=bool(wanted) and service is None,
        operation=_read(given, "operation", str, None),
        attributes=_attributes(given),
        min_duration=least,
        max_duration=most,
        status=_status_asked(given),
        order=_read(given, "order", _order, "newest"),
        limit=_read(given, "limit", _whole(1, 1000), 50),
    )


def _status_asked(given: Mapping[str, str]) -> Status | None:
    """`errors=true` is the same as `status=error`, and older."""
    status, errors = _read(given, "status", _status, None), _read(given, "errors", _flag, False)
    if errors and status not in (None, "error"):
        raise BadParameterError(f"errors=true asks for status=error, and status={status} for another: leave one out")
    return "error" if errors else status


def _status(text: str) -> Status | None:
    for status in _STATUSES:
        if text.lower() == status:
            return status
    raise ValueError("is neither error nor ok nor unset")


def wait_filter(given: Mapping[str, str]) -> WaitFilter | None:
    """What a trace list's parameters ask of the time waited for a GPU; None where they ask nothing.

    Raises:
        BadParameterError: `min_gpu_wait` is no duration.
    """
    least, first = _read(given, "min_gpu_wait", _duration, None), given.get("order", "").strip() == BY_WAIT
    return WaitFilter(least, first) if first or least is not None else None


def waits_wanted(given: Mapping[str, str]) -> bool:
    """Whether each trace of a list is to be told with how long it waited for a GPU.

    Raises:
        BadParameterError: `waits` is neither true nor false.
    """
    return _read(given, "waits", _flag, False)


def span_page(given: Mapping[str, str]) -> SpanPage:
    """Which of a trace's spans are asked for; the first unless they say otherwise.

    Raises:
        BadParameterError: a parameter is unknown or malformed.
    """
    only(given, SPAN_PARAMETERS)
    return SpanPage(
        offset=_read(given, "offset", _whole(0, 10**9), 0),
        limit=_read(given, "limit", _whole(1, MOST_SPANS), MOST_SPANS),
    )


def trace_id_of(text: str) -> str:
    """A trace id as 32 lower-case hex characters; shorter ones get leading zeros, as some tools drop them.

    Raises:
        BadParameterError: it is no hexadecimal number of at most 32 digits.
    """
    if not _TRACE_ID.fullmatch(text):
        raise BadParameterError(f"trace id {text[:LONGEST]!r} is not hexadecimal of up to 32 digits: copy it whole")
    return text.lower().zfill(32)


@dataclass(frozen=True, slots=True)
class WaitFilter:
    """What is asked of the time waited for a GPU. `least`: seconds; `first`: the longest wait first."""

    least: float | None
    first: bool
