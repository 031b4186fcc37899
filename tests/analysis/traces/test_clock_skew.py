"""Clock offsets between hosts, from spans that lie outside their parents."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from foreshock_dashboard.analysis.traces.clock_skew import ClockSkew, clock_skew
from foreshock_dashboard.model.span import Kind, Span
from foreshock_dashboard.render.verdict.trace_sentence import clock_note

T0 = 1_790_000_000


class SpanRow(NamedTuple):
    """A span, in seconds after T0 by the clock of its host; "" for an unnamed host."""

    number: int
    parent: int
    kind: Kind
    host: str
    start: float
    length: float
    service: str = "app"


def skew(*rows: SpanRow) -> ClockSkew:
    return clock_skew(
        [
            Span(
                trace_id="1" * 32,
                span_id=f"{row.number:016x}",
                parent_id=f"{row.parent:016x}" if row.parent else "",
                name="x",
                kind=row.kind,
                start_ns=round((T0 + row.start) * 1e9),
                end_ns=round((T0 + row.start + row.length) * 1e9),
                status="unset",
                status_message="",
                resource={"service.name": row.service} | ({"host.id": row.host} if row.host else {}),
                attributes={},
            )
            for row in rows
        ]
    )


CLIENT = SpanRow(1, 0, "client", "h1", -1.0, 0.5)
CASES: dict[str, tuple[tuple[SpanRow, ...], dict[str, tuple[float, float] | None]]] = {
    "nothing": ((), {}),
    "one span": ((CLIENT,), {}),
    "within its caller": ((CLIENT, SpanRow(2, 1, "server", "h2", -0.95, 0.4)), {}),
    "a little outside": ((CLIENT, SpanRow(2, 1, "server", "h2", -1.04, 0.5)), {}),
    "a clock nine seconds ahead": ((CLIENT, SpanRow(2, 1, "server", "h2", 9.0, 0.4)), {"h2": (9.95, 0.05)}),
    "behind": ((CLIENT, SpanRow(2, 1, "server", "h2", -3.0, 0.3)), {"h2": (-2.1, 0.1)}),
    "on one host": ((CLIENT, SpanRow(2, 1, "server", "h1", 9.0, 0.4)), {}),
    "longer than its caller: unknown": ((CLIENT, SpanRow(2, 1, "server", "h2", 9.0, 2.0)), {"h2": None}),
    "served after its caller timed out, while another call was not": (
        (
            SpanRow(1, 0, "internal", "h1", 0.0, 9.0),
            SpanRow(2, 1, "client", "h1", 0.0, 1.0),
            SpanRow(3, 2, "server", "h2", 3.0, 0.4),
            SpanRow(4, 1, "client", "h1", 4.0, 1.0),
            SpanRow(5, 4, "server", "h2", 4.1, 0.4),
        ),
        {},
    ),
    "a message that waited": (
        (SpanRow(1, 0, "producer", "h1", 0.0, 0.1), SpanRow(2, 1, "consumer", "h2", 60.0, 0.4)),
        {},
    ),
    "a message before it was sent": (
        (SpanRow(1, 0, "producer", "h1", 0.0, 0.5), SpanRow(2, 1, "consumer", "h2", -5.0, 0.1)),
        {"h2": None},
    ),
    "further on, the clocks add up": (
        (
            CLIENT,
            SpanRow(2, 1, "server", "h2", 9.0, 0.4),
            SpanRow(3, 2, "client", "h2", 9.1, 0.2),
            SpanRow(4, 3, "server", "h3", 10.1, 0.2),
            SpanRow(5, 3, "server", "h1", -0.85, 0.1),
        ),
        {"h2": (9.95, 0.05), "h3": (10.95, 0.05)},
    ),
    "hosts that are not named are their services": (
        (SpanRow(1, 0, "client", "", 0.0, 0.5), SpanRow(2, 1, "server", "", 3600.0, 0.4, "model")),
        {"model": (3599.95, 0.05)},
    ),
    "a server that shares its client's id": (
        (
            SpanRow(1, 0, "client", "h1", 0.0, 0.5),
            SpanRow(1, 0, "server", "h2", 9.0, 0.4),
            SpanRow(3, 1, "server", "h2", 9.1, 0.2),
        ),
        {"h2": (8.95, 0.15)},
    ),
    "each others' parents": ((SpanRow(1, 2, "server", "h1", 0, 1), SpanRow(2, 1, "server", "h2", 0, 1)), {}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_clocks_differ_where_spans_lie_outside_their_parents(case: str) -> None:
    """By the distance of their midpoints, plus or minus half of the difference of durations."""
    rows, expected = CASES[case]
    offsets = {offset.host: offset for offset in skew(*rows).hosts}
    assert set(offsets) == set(expected)
    for host, expected_offset in expected.items():
        if expected_offset is None:
            assert (offsets[host].seconds, offsets[host].within) == (None, None)
        else:
            assert (offsets[host].seconds, offsets[host].within) == pytest.approx(expected_offset, abs=1e-6)


def test_a_note_names_the_offsets() -> None:
    """It is empty without an offset, and lists a few of many hosts."""
    assert clock_note(skew(CLIENT)) == ""
    ahead = [SpanRow(n, 1, "server", f"h{n}", -1.0 + n, 0.4) for n in range(2, 8)]
    assert clock_note(skew(CLIENT, ahead[0])) == (
        "Clock skew relative to h1: h2 1.95 s ahead. Offsets between hosts are not comparable."
    )
    assert "h4 3.95 s ahead and 3 more hosts. " in clock_note(skew(CLIENT, *ahead))
    behind, unknown = SpanRow(2, 1, "server", "h2", -3.0, 0.5), SpanRow(3, 1, "server", "h3", 9.0, 2.0)
    assert "h2 2.00 s behind, h3 by an unknown amount. " in clock_note(skew(CLIENT, behind, unknown))
