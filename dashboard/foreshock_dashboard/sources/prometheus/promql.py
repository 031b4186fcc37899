"""Queries as PromQL: each by itself, or several as one."""

from __future__ import annotations

from collections.abc import Sequence

from foreshock_dashboard.model.query import Matcher, Query, promql_string

QUERY_LABEL = "foreshock_query"
"""Label of each series in the result of a union: the position of its query."""
_RESERVED = frozenset(["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"])
"""Words that cannot be a metric name before braces in PromQL, in any case."""


def promql(query: Query) -> str:
    """Return the query in PromQL.

    `last` also evaluates the instant vector, which respects staleness markers; `last_over_time` skips them. A series
    that meets several of the conditions `any_of` counts once: `or` leaves out equal labels.
    """
    inner = " or ".join(_reduced(query, more) for more in query.any_of or ((),))
    if query.by is None:
        return inner
    keep = dict.fromkeys((*query.by, "le") if query.reduce == "buckets" else query.by)
    return f"sum by ({', '.join(keep)}) ({inner})"


def _reduced(query: Query, more: tuple[Matcher, ...]) -> str:
    series = selector(query.series_name, (*query.matchers, *more))
    window = f"[{round(query.window * 1000)}ms]"
    match query.reduce:
        case "last":
            return f"last_over_time({series}{window}) and {series}"
        case "rate":
            return f"rate({series}{window})"
        case "increase" | "buckets":
            return f"increase({series}{window})"


def union(queries: Sequence[Query]) -> str:
    """One PromQL query with the series of all; `QUERY_LABEL` has the position of the query of each series."""
    return _joined(
        [
            f'label_replace({promql(query)}, "{QUERY_LABEL}", "{position}", "", "")'
            for position, query in enumerate(queries)
        ]
    )


def _joined(parts: Sequence[str]) -> str:
    """The parts in a balanced tree: each `or` hashes all the series of both sides."""
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    return f"({_joined(parts[:half])} or {_joined(parts[half:])})"


def selector(metric: str, matchers: tuple[Matcher, ...]) -> str:
    """The series of a metric that meet all conditions, in PromQL."""
    conditions = [f"{matcher.label}{matcher.op}{promql_string(matcher.value)}" for matcher in matchers]
    if metric.lower() in _RESERVED:
        conditions.insert(0, f"__name__={promql_string(metric)}")
        metric = ""
    return f"{metric}{{{','.join(conditions)}}}" if conditions else metric
