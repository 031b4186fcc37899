"""docs/http-api.md tells of every address and parameter there is."""

from __future__ import annotations

from pathlib import Path

from tests.web.caller import Caller

from foreshock_dashboard.web.params import TRACE_PARAMETERS

TEXT = (Path(__file__).parents[2] / "docs" / "http-api.md").read_text()


def test_every_address_is_documented(caller: Caller) -> None:
    """What OpenAPI lists is in the document."""
    missing = [path for path in caller.get("/api/openapi.json").json()["paths"] if f"`{path}`" not in TEXT]
    assert missing == []


def test_every_trace_parameter_is_documented() -> None:
    """By its name."""
    assert [name for name in TRACE_PARAMETERS if f"`{name}`" not in TEXT] == []


def test_every_field_of_the_envelope_and_of_a_warning_is_documented(caller: Caller) -> None:
    """By its name."""
    body = caller.get("/api/warnings").json()
    fields = {*body, *body["warnings"][0], *body["warnings"][0]["evidence"][0]}
    assert [name for name in sorted(fields) if f"`{name}`" not in TEXT] == []
