"""Clocks of different hosts that are apart, told from spans that lie outside their parents."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from foreshock_dashboard.analysis.traces.clock_skew import ClockSkew, clock_skew
from foreshock_dashboard.model.span import Kind, Span
from foreshock_dashboard.web.pages.traces.sentences import clock_note

T0 = 1_790_000_000


class Told(NamedTuple):
    """A span: seconds after T0 by the clock of its host; an empty host is not named."""

    number: int
    parent: int
    kind: Kind
    host: str
    start: float
    length: float
    service: str = "app"


def skew(*told: Told) -> ClockSkew:
    return clock_skew(
        [
            Span(
                trace_id="1" * 32,
                span_id=f"{each.number:016x}",
                parent_id=f"{each.parent:016x}" if each.parent else "",
                name="x",
                kind=each.kind,
                start_ns=round((T0 + each.start) * 1e9),
                end_ns=round((T0 + each.start + each.length) * 1e9),
                status="unset",
                status_message="",
                resource={"service.name": each.service} | ({"host.id": each.host} if each.host else {}),
                attributes={},
            )
            for each in told
        ]
    )


CLIENT = Told(1, 0, "client", "h1", -1.0, 0.5)
CASES: dict[str, tuple[tuple[Told, ...], dict[str, tuple[float, float] | None]]] = {
    "nothing": ((), {}),
    "one span": ((CLIENT,), {}),
    "within its caller": ((CLIENT, Told(2, 1, "server", "h2", -0.95, 0.4)), {}),
    "a little outside": ((CLIENT, Told(2, 1, "server", "h2", -1.04, 0.5)), {}),
    "a clock nine seconds ahead": ((CLIENT, Told(2, 1, "server", "h2", 9.0, 0.4)), {"h2": (9.95, 0.05)}),
    "behind": ((CLIENT, Told(2, 1, "server", "h2", -3.0, 0.3)), {"h2": (-2.1, 0.1)}),
    "on one host": ((CLIENT, Told(2, 1, "server", "h1", 9.0, 0.4)), {}),
    "longer than its caller: by how much is not known": ((CLIENT, Told(2, 1, "server", "h2", 9.0, 2.0)), {"h2": None}),
    "served after its caller gave up, while another call was not": (
        (
            Told(1, 0, "internal", "h1", 0.0, 9.0),
            Told(2, 1, "client", "h1", 0.0, 1.0),
            Told(3, 2, "server", "h2", 3.0, 0.4),
            Told(4, 1, "client", "h1", 4.0, 1.0),
            Told(5, 4, "server", "h2", 4.1, 0.4),
        ),
        {},
    ),
    "a message that waited": (
        (Told(1, 0, "producer", "h1", 0.0, 0.1), Told(2, 1, "consumer", "h2", 60.0, 0.4)),
        {},
    ),
    "a message before it was sent": (
        (Told(1, 0, "producer", "h1", 0.0, 0.5), Told(2, 1, "consumer", "h2", -5.0, 0.1)),
        {"h2": None},
    ),
    "further on, the clocks add up": (
        (
            CLIENT,
            Told(2, 1, "server", "h2", 9.0, 0.4),
            Told(3, 2, "client", "h2", 9.1, 0.2),
            Told(4, 3, "server", "h3", 10.1, 0.2),
            Told(5, 3, "server", "h1", -0.85, 0.1),
        ),
        {"h2": (9.95, 0.05), "h3": (10.95, 0.05)},
    ),
    "hosts that are not named are their services": (
        (Told(1, 0, "client", "", 0.0, 0.5), Told(2, 1, "server", "", 3600.0, 0.4, "model")),
        {"model": (3599.95, 0.05)},
    ),
    "a server that shares its client's id": (
        (
            Told(1, 0, "client", "h1", 0.0, 0.5),
            Told(1, 0, "server", "h2", 9.0, 0.4),
            Told(3, 1, "server", "h2", 9.1, 0.2),
        ),
        {"h2": (8.95, 0.15)},
    ),
    "each others' parents": ((Told(1, 2, "server", "h1", 0, 1), Told(2, 1, "server", "h2", 0, 1)), {}),
}  # fmt: skip


@pytest.mark.parametrize("what", CASES)
def test_clocks_differ_where_spans_lie_outside_their_parents(what: str) -> None:
    """By their middles, give or take half of what the caller took longer."""
    told, expected = CASES[what]
    found = {each.host: each for each in skew(*told).hosts}
    assert set(found) == set(expected)
    for host, offset in expected.items():
        if offset is None:
            assert (found[host].seconds, found[host].within) == (None, None)
        else:
            assert (found[host].seconds, found[host].within) == pytest.approx(offset, abs=1e-6)


def test_it_says_so_in_a_sentence() -> None:
    """Nothing where they agree; not every host of many."""
    assert clock_note(skew(CLIENT)) == ""
    ahead = [Told(n, 1, "server", f"h{n}", -1.0 + n, 0.4) for n in range(2, 8)]
    assert clock_note(skew(CLIENT, ahead[0])) == (
        "Against the clock of h1, that of h2 is 1.95 s ahead: times of different hosts cannot be compared."
    )
    assert "that of h4 is 3.95 s ahead and those of 3 others differ: " in clock_note(skew(CLIENT, *ahead))
    behind, unknown = Told(2, 1, "server", "h2", -3.0, 0.5), Told(3, 1, "server", "h3", 9.0, 2.0)
    assert "that of h2 is 2.00 s behind, that of h3 differs: " in clock_note(skew(CLIENT, behind, unknown))
