"""Parameters as people write them."""

from __future__ import annotations

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.web.params import BadParameterError, trace_query

KNOWN = (Service("", "web"), Service("ml", "eval"), Service("prod", "llm"), Service("test", "llm"), Service("a", "web"))


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("eval", Service("ml", "eval")),
        ("test/llm", Service("test", "llm")),
        ("web", Service("", "web")),
        ("gone/long-ago", Service("gone", "long-ago")),
    ],
)
def test_a_service_may_be_named_without_its_namespace(text: str, meant: Service) -> None:
    """The map shows short names, so people write them."""
    assert trace_query({"service": text}, 1e9, KNOWN).service == meant


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("llm", "several services have this name; write one of prod/llm, test/llm"),
        ("lmm", "there is no such service; there are a/web, ml/eval, prod/llm, test/llm, web"),
    ],
)
def test_a_name_that_means_nothing_or_too_much_is_refused(text: str, message: str) -> None:
    """An empty list would look like an answer."""
    with pytest.raises(BadParameterError, match=message):
        trace_query({"service": text}, 1e9, KNOWN)


def test_while_no_service_is_known_a_name_is_taken_as_it_is() -> None:
    """A hub that has just started cannot judge."""
    assert trace_query({"service": "llm"}, 1e9).service == Service("", "llm")
