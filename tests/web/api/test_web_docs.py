"""docs/reference/http-api.md documents every address and parameter."""

from __future__ import annotations

import re
from pathlib import Path

from tests.web.caller import Caller, answer_schema

from foreshock_dashboard.model.span import TRACE_KEYS
from foreshock_dashboard.web.pages.traces.parameters import SpanPage, TraceParameters

DOCS = Path(__file__).parents[3] / "docs" / "reference"
TEXT = (DOCS / "http-api.md").read_text()


def test_every_address_is_documented(caller: Caller) -> None:
    """What OpenAPI lists is in the document."""
    missing = [path for path in caller.get("/api/openapi.json").json()["paths"] if f"`{path}`" not in TEXT]
    assert missing == []


def test_every_trace_parameter_is_documented() -> None:
    """By its name."""
    assert [name for name in (*TraceParameters.model_fields, *SpanPage.model_fields) if f"`{name}`" not in TEXT] == []


def test_every_field_of_a_trace_is_documented(caller: Caller) -> None:
    """Its own, its spans', their events' and links', as OpenAPI has them too."""
    body = caller.get("/api/traces/1").json()
    fields = {*body, *body["spans"][0], *next(row["events"][0] for row in body["spans"] if row["events"])} - {"color"}
    assert [name for name in sorted(fields) if f"`{name}`" not in TEXT] == []
    described = answer_schema(caller.get("/api/openapi.json").json(), "/api/traces/{trace_id}").keys()
    assert body.keys() == described - {"clusters", "preview"}  # only where there are several, or after a start


def test_the_attributes_that_are_searched_by_are_listed() -> None:
    """Each, in the order in which a refusal lists them; and what points to the list leads there."""
    traces = (DOCS / "traces.md").read_text()
    _, _, section = traces.partition("## Indexed attributes")
    assert re.findall(r"^\| `([^`]+)` \|", section.partition("\n## ")[0], re.MULTILINE) == list(TRACE_KEYS)
    assert "(traces.md#indexed-attributes)" in TEXT
    assert "docs/reference/traces.md" in (DOCS / "hub.md").read_text()


def test_every_field_of_the_envelope_is_documented(caller: Caller) -> None:
    """By its name."""
    body = caller.get("/api/incidents").json()
    fields = {*body}
    assert [name for name in sorted(fields) if f"`{name}`" not in TEXT] == []
