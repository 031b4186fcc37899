"""Heavy queries whose results recording rules keep as series: those are read where they exist.

The rules are `alerts/fleet/hub_queries.rules.yml`. Each has the expression that the hub would send, and besides the
labels that name clusters.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any

import numpy as np

from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.model.query import Matcher, Matrix, Query, SourceError
from foreshock_dashboard.sources.clusters import DEFAULT_LABELS
from foreshock_dashboard.sources.prometheus.api import PrometheusSource
from foreshock_dashboard.sources.prometheus.promql import selector

log = logging.getLogger(__name__)

WINDOW_SECONDS = 59.0
"""Rate window of the rules: that of a hub with a scrape interval of up to 15 s."""
INTERVAL_SECONDS, FRESH_SECONDS = 10.0, 25.0
"""Interval of the rules, and longest age of their values: two late evaluations."""
CHECK_SECONDS, MAX_UNCHECKED_SECONDS = 30.0, 180.0
"""Shortest time between two checks of the rules, and longest for the times between them to count as checked."""
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

    A rule counts from the first check on at which each service or call had exactly one recorded series. Rules of only
    some clusters or shards would hide the services of the others, and two evaluators would double the rates.

    agreed_since: the rules that the newest check found so, and the Unix seconds since which all checks did.
    used: the rules whose newest answer was used.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - those of PrometheusSource
        super().__init__(*arguments, **options)
        self.agreed_since: Mapping[str, float] = {}
        self.used: frozenset[str] = frozenset()
        self._known: frozenset[str] = frozenset()
        self._checked_at = -math.inf
        self._problem = LogOnChange(log, recovered=f"{self.name}: all recorded series are read again")

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """See `NamedMetricSource.names_between`. Checks the rules; a list of earlier times changes nothing."""
        names = super().names_between(start, end)
        listed = RULES.keys() & (names or frozenset())
        if end >= self._checked_at + CHECK_SECONDS:
            self._check(listed, end)
        return names

    def _check(self, listed: Set[str], time: float) -> None:
        before = self.agreed_since if time - self._checked_at <= MAX_UNCHECKED_SECONDS else {}
        self._checked_at, self._known = time, self._known | listed
        agreed, problem = dict[str, float](), "they stopped, are late, or do not record everything exactly once"
        try:
            for name in sorted(listed):
                if not self._instant_value(unrecorded(name), time):
                    agreed[name] = before.get(name, time)
        except SourceError as error:
            problem = f"they cannot be checked: {error}"
        self.agreed_since, self.used = agreed, self.used & agreed.keys()
        unread = ", ".join(sorted(self._known - agreed.keys()))
        self._problem.update(unread and f"{self.name}: sending queries in place of recorded series {unread}: {problem}")

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """See `MetricSource.fetch_all`; an answer that lacks a time is not used."""
        rules = {i: name for i, query in enumerate(queries) if (name := self.rule(query, start, step))}
        recorded = [_of_rule(name, queries[i]) for i, name in rules.items()]
        found = dict(zip(rules, super().fetch_all(recorded, start, end, step), strict=True))
        found = {i: matrix for i, matrix in found.items() if _is_complete(matrix)}
        self.used = self.used - {*rules.values()} | {rules[i] for i in found}
        rest = super().fetch_all([query for i, query in enumerate(queries) if i not in found], start, end, step)
        for i in range(len(queries)):
            yield found.pop(i) if i in found else next(rest)

    def rule(self, query: Query, start: float, step: float) -> str | None:
        """The rule from whose series the result of a query from `start` (Unix seconds) on can be summed, if any."""
        for name, since in self.agreed_since.items():
            rule = RULES[name]
            labels = {*(query.by or ()), *(each.label for more in query.any_of for each in more)}
            same = query.by is not None and query == replace(rule, by=query.by, any_of=query.any_of)
            if same and labels <= {*(rule.by or ())}:
                return name if start >= since and step >= INTERVAL_SECONDS else None
        return None


def unrecorded(name: str) -> str:
    """PromQL that counts the results of a rule that should have exactly one recorded series, and have not.

    It counts results of series with two samples in all the windows of the evaluations that are fresh.
    """
    rule = RULES[name]
    labels = ", ".join((*(rule.by or ()), "le") if rule.reduce == "buckets" else rule.by or ())
    raw, common = selector(rule.series_name, rule.matchers), f"{WINDOW_SECONDS - FRESH_SECONDS:.0f}s"
    fresh = f"{FRESH_SECONDS:.0f}s"
    return (
        f"count(group by ({labels}) (count_over_time({raw}[{common}] offset {fresh}) > 1) "
        f"unless count by ({labels}) (last_over_time({name}[{fresh}])) == 1)"
    )


def _of_rule(name: str, query: Query) -> Query:
    by = query.by or ()
    return Query(name, by=(*by, "le") if query.reduce == "buckets" else by, window=FRESH_SECONDS, any_of=query.any_of)


def _is_complete(answer: Matrix) -> bool:
    return bool(len(answer) and not np.isnan(answer.values).all(axis=0).any())
