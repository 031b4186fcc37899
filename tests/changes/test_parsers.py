"""The parsers of reported changes on any JSON: they return a clean change, or nothing, or name the field."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.changes.test_reports import APPLICATION, DEPLOYED, EVENT, LLM, NOW, ROLLED_OUT

from foreshock_dashboard.changes.argocd import argocd_change
from foreshock_dashboard.changes.cloud_events import binary_event, deployment_event, structured_event
from foreshock_dashboard.changes.fields import (
    MAX_AGE_SECONDS,
    MAX_AHEAD_SECONDS,
    MAX_LINK_CHARS,
    MAX_TEXT_CHARS,
    InvalidChangeError,
)
from foreshock_dashboard.changes.github import github_change, has_signature
from foreshock_dashboard.changes.labels import change_labels, change_of_labels
from foreshock_dashboard.changes.reports import FIELDS, annotation, reported_change
from foreshock_dashboard.model.change import Change

Json = Any
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.sampled_from(["1.2", "llm"]),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3),
    max_leaves=6,
)
HEADERS = {"ce-specversion": "1.0", "ce-source": "/ci", "ce-type": DEPLOYED}
PARSERS: dict[str, tuple[Json, Callable[[Json], Change | None]]] = {
    "report": (dict.fromkeys(FIELDS, "1.2"), lambda body: reported_change(body, NOW)),
    "annotation": (
        {"text": "x", "time": NOW * 1000, "timeEnd": NOW * 1000, "tags": ["llm"]},
        lambda body: annotation(body, NOW, [LLM]),
    ),
    "structured CloudEvent": (EVENT, lambda body: deployment_event(structured_event(body), NOW)),
    "binary CloudEvent": (EVENT["data"], lambda body: deployment_event(binary_event(HEADERS, body), NOW)),
    "GitHub": (
        ROLLED_OUT | {"action": "published", "release": {"tag_name": "v2"}},
        lambda body: github_change("release", body, NOW) or github_change("deployment_status", body, NOW),
    ),
    "Argo CD": (APPLICATION, lambda body: argocd_change(body, NOW)),
}


@st.composite
def _altered(draw: st.DrawFn, body: Json) -> Json:
    """A body with a few of its values, at any depth, replaced or removed."""
    if isinstance(body, dict):
        fates = {key: draw(st.integers(0, 9)) for key in body}
        return {
            key: draw(VALUES) if fates[key] == 0 else draw(_altered(value))
            for key, value in body.items()
            if fates[key] != 1
        }
    return draw(st.just(body) | VALUES)


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=settings().max_examples // 5)  # of the profile, for each of the parsers
@given(data=st.data())
def test_any_json_is_a_clean_change_or_none_or_names_the_field(name: str, data: st.DataObject) -> None:
    body, parse = PARSERS[name]
    with suppress(InvalidChangeError):
        change = parse(data.draw(_altered(body) | VALUES))
        if change is not None:
            assert change_of_labels(change.at, change_labels(change)) == change
            assert -MAX_AGE_SECONDS <= change.at - NOW <= MAX_AHEAD_SECONDS
            texts = change_labels(change)
            assert len(texts.pop("link")) <= MAX_LINK_CHARS
            assert max(map(len, texts.values())) <= MAX_TEXT_CHARS


@given(st.binary(min_size=1), st.binary(), st.text())
def test_no_other_signature_is_accepted(secret: bytes, body: bytes, header: str) -> None:
    assert not has_signature(secret, body, header)
