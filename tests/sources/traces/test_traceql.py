"""TraceQL for Tempo is readable, and no value can change its structure."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.sources.traces.traceql_double import TraceQLError, parse, unquoted

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import EXPORTER_NAME, OCCUPANCY_NAME, TraceQuery
from foreshock_dashboard.sources.traces.traceql import service_query, string_literal, traceql

ANY = TraceQuery(0, 1)
ALL = " && { true }"
TAIL = " | select(name, resource.service.name, resource.service.namespace)"
RECENT = f"{TAIL} with (most_recent=true)"
TRAFFIC = f'(name != "{OCCUPANCY_NAME}" || resource.service.name != "{EXPORTER_NAME}")'
WRITTEN = [
    (ANY, f"{{ {TRAFFIC} }}{ALL}{RECENT}"),
    (replace(ANY, order="slowest"), f"{{ {TRAFFIC} }}{ALL}{TAIL}"),
    (replace(ANY, service=Service("", "pay")), f'{{ resource.service.name = "pay" }}{ALL}{RECENT}'),
    (replace(ANY, service=Service("shop", "pay")),
     f'{{ resource.service.name = "pay" && resource.service.namespace = "shop" }}{ALL}{RECENT}'),
    (replace(ANY, operation="GET /"), f'{{ name = "GET /" }}{ALL}{RECENT}'),
    (replace(ANY, operation=OCCUPANCY_NAME), f'{{ name = "{OCCUPANCY_NAME}" }}{ALL}{RECENT}'),
    (replace(ANY, service=Service("", EXPORTER_NAME)),
     f'{{ resource.service.name = "{EXPORTER_NAME}" && {TRAFFIC} }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", min_duration=0.25, max_duration=2),
     f'{{ name = "x" }} && {{ duration >= 250000000ns }}{RECENT}'),
    (replace(ANY, operation="x", max_duration=2), f'{{ name = "x" }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", status="error"), f'{{ name = "x" && status = error }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", status="ok"), f'{{ name = "x" && status = ok }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", status="unset"), f'{{ name = "x" && status = unset }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", attributes={"http.route": "/a"}),
     f'{{ name = "x" && (span.http.route = "/a" || resource.http.route = "/a") }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", attributes={"n": "200"}),
     f'{{ name = "x" && (span.n = "200" || span.n = 200 || resource.n = "200" || resource.n = 200) }}{ALL}{RECENT}'),
    (replace(ANY, operation="x", attributes={"a b": "y"}),
     f'{{ name = "x" && (span."a b" = "y" || resource."a b" = "y") }}{ALL}{RECENT}'),
    (replace(ANY, operation='x" || "\\\n\x00\u2028🙂'),
     f'{{ name = "x\\" || \\"\\\\\\u000a\\u0000\\u2028\\U0001f642" }}{ALL}{RECENT}'),
]  # fmt: skip


@pytest.mark.parametrize(("query", "expected"), WRITTEN, ids=[text_ for _, text_ in WRITTEN])
def test_a_query_is_written_as(query: TraceQuery, expected: str) -> None:
    """Readable in Tempo's log, and printable ASCII."""
    assert traceql(query) == expected
    assert expected.isascii()
    assert expected.isprintable()
    parse(expected)


def test_longer_traces_can_be_requested() -> None:
    """To the nanosecond; nothing longer than a duration of Go can hold."""
    asked = replace(ANY, operation="x", order="slowest")
    assert traceql(asked, 5) == f'{{ name = "x" }} && {{ duration > 5ns }}{TAIL}'
    assert traceql(asked, 0) == f'{{ name = "x" }} && {{ duration > 0ns }}{TAIL}'
    assert traceql(asked, 1 << 70) == f'{{ name = "x" }} && {{ duration > {2**63 - 1}ns }}{TAIL}'


@pytest.mark.parametrize(
    ("given_", "longer", "expected"),
    [
        ({}, None, ""),
        ({"min_duration": 0.25}, None, " && duration >= 250000000ns"),
        ({"max_duration": float("inf")}, None, f" && duration <= {2**63 - 1}ns"),
        ({"min_duration": 1, "max_duration": 2}, 5,
         " && duration >= 1000000000ns && duration > 5ns && duration <= 2000000000ns"),
    ],
)  # fmt: skip
def test_the_duration_of_a_trace_is_that_of_its_root(given_: dict[str, Any], longer: int | None, expected: str) -> None:
    """Whatever the conditions are on its other spans."""
    asked = traceql(replace(ANY, operation="x", order="slowest", **given_), longer, roots=True)
    assert asked == f'{{ name = "x" }} && {{ nestedSetParent < 0{expected} }}{TAIL[:-1]}, nestedSetParent)'
    parse(asked)


@pytest.mark.parametrize("key", ["", "a\nb", "a\x00", "\ud800", "\u200b"])
def test_a_key_that_cannot_be_written_is_refused(key: str) -> None:
    """Keys know no escape for it."""
    with pytest.raises(ValueError, match="keys of printable characters only"):
        traceql(replace(ANY, attributes={key: "x"}))


anything = st.text() | st.text(st.sampled_from("\"\\{}()|&=!<> \n\r\x00.:u\u2028\ufeff'`ab5"))


@given(anything)
def test_a_text_means_itself_and_nothing_else(value: str) -> None:
    """Read back as Go would."""
    assert unquoted(string_literal(value)) == value.encode("utf-8", "replace").decode()


def plain(value: str) -> bool:
    """Whether a value is text only; one that looks like a number is matched as both."""
    return value not in ("true", "false") and not re.fullmatch(r"-?\d+(\.\d+)?", value)


@given(
    name=anything,
    namespace=anything.filter(bool),
    operation=anything,
    key=anything.filter(lambda key: key and key.isprintable()),
    value=anything.filter(plain),
)
def test_no_value_can_change_a_query(name: str, namespace: str, operation: str, key: str, value: str) -> None:
    """Read back, it has the form of a query of harmless values, and the values are those given."""

    def asked(*words: str) -> TraceQuery:
        return replace(ANY, service=Service(words[1], words[0]), operation=words[2], attributes={words[3]: words[4]})

    given_ = [word.encode("utf-8", "replace").decode() for word in (name, namespace, operation, key, value)]
    harmless = parse(traceql(asked("a", "b", "c", "d", "e")))
    found = parse(traceql(asked(name, namespace, operation, key, value)))
    assert found.form == harmless.form
    assert list(found.values) == [dict(zip("abcde", given_, strict=True)).get(word, word) for word in harmless.values]


@given(anything)
def test_no_service_can_change_the_question_for_its_namespaces(name: str) -> None:
    """The same for the values of a tag."""
    assert parse(service_query(name)).values == ("service.name", name.encode("utf-8", "replace").decode())


@pytest.mark.parametrize(
    "query",
    ['{ name = "a" b" }', '{ name = "a', '{ name = "\\x" }', '{ name = "a" } || { true }', "{ } extra", "{ evil = 1 }"],
)
def test_the_double_refuses_invalid_traceql(query: str) -> None:
    """Or it would prove nothing."""
    with pytest.raises(TraceQLError):
        parse(query)
