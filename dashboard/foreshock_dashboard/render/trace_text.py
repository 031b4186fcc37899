"""A trace as text for a terminal: its spans as a tree, the work on its GPUs as bars, and one sentence.

All texts come from the network, so control characters are replaced. The input is the JSON body of `/api/traces/{id}`,
typed by `Trace`, `SpanOnGpu`, and `LaneRow` of `web.pages.traces`. Times are seconds from the start of the trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from textwrap import wrap

from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.units import counted, percent, printable

WIDTH = 100
"""Largest number of columns."""
MAX_SPANS = 200
"""Largest number of listed spans; the others are counted."""
MAX_INDENT = 12
"""Deepest indented level of the tree."""
_LABEL = 28
"""Columns of the service name before its bar."""
_SHADES = " ░▒▓█"
_TIME = 11
_WAIT = 8


def trace_text(trace: Json) -> str:
    """The JSON body of `/api/traces/{id}` as text of up to `WIDTH` columns.

    trace: the fields trace_id, start (Unix seconds), duration_seconds, total, left_out, note, clock_note, and sentence;
    spans, each with span_id, parent_id, service, name, kind, status, offset_seconds, duration_seconds, and gpu;
    lanes, one per GPU, each with gpu, own, spans, intervals, own_seconds, waited_seconds, by, and quality;
    lanes_error, lanes_left_out, lanes_settled, and lanes_note.
    """
    parts = [_head(trace), _spans(trace["spans"], trace["left_out"]), *(_lane(lane, trace) for lane in trace["lanes"])]
    return "\n\n".join([*parts, "\n".join(_end(trace))]) + "\n"


def _head(trace: Json) -> str:
    start = datetime.fromtimestamp(trace["start"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    return _cut(f"trace {trace['trace_id']}, {start} UTC, {_time(trace['duration_seconds'])}, {trace['total']:,} spans")


def _spans(spans: list[Json], left_out: int) -> str:
    lines = [f"{'duration':>{_TIME}}  {'GPU wait':>{_WAIT}}"]
    for shown, (depth, span) in enumerate(_tree(spans)):
        if shown == MAX_SPANS:
            left_out += len(spans) - shown
            break
        name = f"{'  ' * min(depth, MAX_INDENT)}{in_words(span['service'])}  {span['name']}"
        failed = "  ERROR" if span["status"] == "error" else ""
        kind = "" if span["kind"] == "internal" else f"  {span['kind']}"
        room = WIDTH - _TIME - _WAIT - 4 - len(kind) - len(failed)
        text = f"{_time(span['duration_seconds']):>{_TIME}}  {_wait(span):>{_WAIT}}  {_cut(name, room)}{kind}{failed}"
        lines.append(text)
    if left_out:
        lines.append(f"… and {left_out:,} more spans (-o json lists up to 5000; the API pages through all)")
    return "\n".join(lines)


def _tree(spans: list[Json]) -> Iterator[tuple[int, Json]]:
    """Depth and span in the order of the tree: children below their parent, by start. Cycles come last."""
    row_by_id = {span["span_id"]: row for row, span in enumerate(spans)}
    children: dict[int | None, list[int]] = {}
    for row, span in enumerate(spans):
        parent = row_by_id.get(span["parent_id"])
        children.setdefault(None if parent == row else parent, []).append(row)
    visited: set[int] = set()
    for first in [*children.get(None, ()), *range(len(spans))]:
        stack = [(0, first)]
        while stack:
            depth, row = stack.pop()
            if row not in visited:
                visited.add(row)
                yield depth, spans[row]
                below = sorted(children.get(row, ()), key=lambda i: (spans[i]["offset_seconds"], i), reverse=True)
                stack += [(depth + 1, child) for child in below]


def _wait(span: Json) -> str:
    """Ratio of a span's time that other services used its GPU; `≤` for an upper bound, `~` if inferred."""
    gpu = span["gpu"]
    if gpu is None or span["duration_seconds"] <= 0:
        return ""
    mark = "~" if gpu["quality"] == "inferred" else "≤" if gpu["upper_bound"] else ""
    return f"{mark}{percent(gpu['waited_seconds'] / span['duration_seconds'])}"


def _lane(lane: Json, trace: Json) -> str:
    """One GPU: a bar per service over the time of the trace's spans on it."""
    on = set(lane["spans"])
    spans = [span for span in trace["spans"] if span["span_id"] in on]
    times = [_range(item) for item in spans or lane["intervals"]]
    first, last = min((start for start, _ in times), default=0.0), max((end for _, end in times), default=0.0)
    quality = "" if lane["quality"] == "measured" else ", inferred from counters"
    head = f"{in_words(lane['gpu'])}: GPU wait up to {_time(lane['waited_seconds'])}{quality}"
    others = {interval["service"] for interval in lane["intervals"]} - {lane["own"]}
    width = WIDTH - _LABEL - 13
    rows = []
    for service in [lane["own"], *sorted(others, key=lambda name: -lane["by"].get(name, 0))]:
        own = [interval for interval in lane["intervals"] if interval["service"] == service]
        held = lane["own_seconds"] if service == lane["own"] else lane["by"].get(service, 0.0)
        name = f"{in_words(service)} *" if service == lane["own"] else in_words(service)
        bar = _bar(own, lane["intervals"], first, last, width)
        rows.append(f"{_cut(name, _LABEL):<{_LABEL}} {bar} {_time(held):>{_TIME}}")
    scale = f"{'':<{_LABEL}} {_time(first):<{width // 2}}{_time(last):>{width - width // 2}}"
    return "\n".join([_cut(head), *rows, scale])


def _range(item: Json) -> tuple[float, float]:
    """Start and end of a span or an interval."""
    return item["offset_seconds"], item["offset_seconds"] + item["duration_seconds"]


def _bar(own: Iterable[Json], intervals_of_all: Iterable[Json], first: float, last: float, width: int) -> str:
    """The share of a service in each cell as a shade; a dot where no service is known to have run."""
    if last <= first:
        return _SHADES[0] * width
    own_shares = _cells(own, first, last, width, shares=True)
    known_shares = _cells(intervals_of_all, first, last, width, shares=False)
    return "".join(_shade(cell) if known > 0 else "·" for cell, known in zip(own_shares, known_shares, strict=True))


def _cells(intervals: Iterable[Json], first: float, last: float, width: int, *, shares: bool) -> list[float]:
    """The covered ratio of each of `width` cells; with `shares`, weighted by the interval's share of the GPU."""
    cells = [0.0] * width
    step = (last - first) / width
    for interval in intervals:
        start, end = (time - first for time in _range(interval))
        share = interval["share"] if shares and interval["share"] is not None else 1.0
        for cell in range(max(0, int(start / step)), min(width, int(end / step) + 1)):
            cells[cell] += share * max(0.0, min(end, (cell + 1) * step) - max(start, cell * step)) / step
    return cells


def _shade(share: float) -> str:
    """A blank only for a share of zero."""
    return _SHADES[0] if share <= 0.001 else _SHADES[min(4, max(1, round(share * 4)))]


def _end(trace: Json) -> Iterator[str]:
    for note in (trace["clock_note"], trace["note"]):
        if note:
            yield from wrap(printable(note), WIDTH)
    if trace["lanes"]:
        yield "* Service in this trace. · At most one service active. GPU wait values are upper bounds."
    if trace["lanes_error"]:
        yield printable(f"GPU wait unknown: {trace['lanes_error']}")
    if trace["lanes_left_out"]:
        yield f"GPU samples for {counted(trace['lanes_left_out'], 'minute')} were not read."
    if not trace["lanes_settled"]:
        yield "GPU wait is not final: the last GPU samples are still arriving."
    if note := trace["lanes_note"]:
        yield printable(f"GPU wait unknown: {note}")
    elif not trace["lanes"]:
        yield "No span in this trace used a shared GPU."
    yield from wrap(printable(trace["sentence"]), WIDTH)


def _time(seconds: float) -> str:
    if abs(seconds) < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:,.0f} ms" if abs(seconds) < 10 else f"{seconds:,.1f} s"


def _cut(text: str, room: int = WIDTH) -> str:
    text = printable(text)
    return text if len(text) <= room else f"{text[: max(0, room - 1)]}…"
