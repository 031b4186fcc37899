"""Heavy queries whose results recording rules keep as series: those are read where they exist.

The rules are `alerts/fleet/hub_queries.rules.yml`. Each has the expression that the hub would send, and besides the
labels that name clusters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from foreshock_dashboard.model.query import Matcher, Matrix, Query
from foreshock_dashboard.sources.clusters import DEFAULT_LABELS
from foreshock_dashboard.sources.prometheus.api import PrometheusSource

WINDOW_SECONDS = 59.0
"""Rate window of the rules: that of a hub with a scrape interval of up to 15 s."""
_SERVED = Matcher("span_kind", "=~", "SPAN_KIND_SERVER|SPAN_KIND_CONSUMER")
_FAILED = Matcher("status_code", "=", "STATUS_CODE_ERROR")
_SERVICE = ("service_name", "service_namespace", *DEFAULT_LABELS)
_EDGE = (
    *("client", "client_service_namespace", "server", "server_service_namespace", "connection_type"),
    *(f"{side}{label}" for side in ("", "client_", "server_") for label in DEFAULT_LABELS),
)
_CALLS, _DURATION = "traces_span_metrics_calls_total", "traces_span_metrics_duration_seconds"
_GRAPH = "traces_service_graph_request"
RULES = {
    "service:hub_served:rate59s": Query(_CALLS, (_SERVED,), _SERVICE, "rate", WINDOW_SECONDS),
    "service:hub_served_errors:rate59s": Query(_CALLS, (_SERVED, _FAILED), _SERVICE, "rate", WINDOW_SECONDS),
    "service_le:hub_served_seconds:increase59s": Query(_DURATION, (_SERVED,), _SERVICE, "buckets", WINDOW_SECONDS),
    **{
        f"client_server:hub_{name}:rate59s": Query(f"{_GRAPH}_{metric}", (), _EDGE, "rate", WINDOW_SECONDS)
        for name, metric in (("calls", "total"), ("call_errors", "failed_total"))
    },
    **{
        f"client_server_le:hub_{side}_seconds:increase59s": Query(
            f"{_GRAPH}_{side}_seconds", (), _EDGE, "buckets", WINDOW_SECONDS
        )
        for side in ("client", "server")
    },
}
"""Names of the recorded series, and the query that each has the result of."""


class RecordedSource(PrometheusSource):
    """A Prometheus whose recorded series are read in place of the queries that they are results of.

    An answer without samples at its first or last time is not used: the rule was added later, or no longer runs.
    present: the recorded series that the server had when its metrics were last listed.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of PrometheusSource
        super().__init__(*arguments, **options)
        self.present: frozenset[str] = frozenset()

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """See `NamedMetricSource.names_between`."""
        names = super().names_between(start, end)
        self.present = frozenset(RULES) & (names or frozenset())
        return names

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """See `MetricSource.fetch_all`."""
        sent = [self.recorded(query) or query for query in queries]
        answers = super().fetch_all(sent, start, end, step)
        if sent == [*queries]:
            return answers
        found = [*answers]
        lacking = [i for i, query in enumerate(queries) if query is not sent[i] and not _is_complete(found[i])]
        again = super().fetch_all([queries[i] for i in lacking], start, end, step)
        for i, matrix in zip(lacking, again, strict=True):
            found[i] = matrix
        return iter(found)

    def recorded(self, query: Query) -> Query | None:
        """The query of the recorded series from which the result of a query can be summed; None without one."""
        by = query.by
        if by is None:
            return None
        for name in self.present:
            rule = RULES[name]
            if query == replace(rule, by=by) and {*by} <= {*(rule.by or ())}:
                return Query(name, by=(*by, "le") if rule.reduce == "buckets" else by, window=rule.window)
        return None


def _is_complete(answer: Matrix) -> bool:
    return bool(len(answer) and not np.isnan(answer.values[:, [0, -1]]).all(axis=0).any())
