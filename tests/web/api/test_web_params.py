"""Parameters as people write them."""

from __future__ import annotations

import pytest

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.web.pages.traces.parameters import TraceParameters
from foreshock_dashboard.web.state.parameters import BadParameterError

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
    assert TraceParameters.read({"service": text}).query(1e9, KNOWN).service == meant


def test_a_name_of_several_services_is_refused_with_these() -> None:
    """Which one is meant is ambiguous."""
    with pytest.raises(BadParameterError, match=r"ambiguous name\. Use one of prod/llm, test/llm"):
        TraceParameters.read({"service": "llm"}).query(1e9, KNOWN)


@pytest.mark.parametrize("known", [KNOWN, ()])
def test_a_name_without_metrics_is_looked_for_in_the_traces(known: tuple[Service, ...]) -> None:
    """A service that has stopped, or serves no calls, has traces all the same; its namespace is unknown."""
    query = TraceParameters.read({"service": "stopped"}).query(1e9, known)
    assert (query.service, query.any_namespace) == (Service("", "stopped"), True)


@pytest.mark.parametrize("text", ["eval", "web", "gone/long-ago", "/stopped"])
def test_a_namespace_that_is_known_or_given_is_kept_to(text: str) -> None:
    """Also the empty one."""
    assert not TraceParameters.read({"service": text}).query(1e9, KNOWN).any_namespace
