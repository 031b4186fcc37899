"""Client of the Prometheus HTTP API (Prometheus, Mimir, Thanos, VictoriaMetrics)."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import numpy as np
import orjson

from foreshock_dashboard.model.query import (
    LimitError,
    Matcher,
    Matrix,
    MetricSource,
    Query,
    SourceError,
    grid,
    promql_string,
)
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.http_client import MAX_BODY_BYTES, ApiClient
from foreshock_dashboard.sources.http_config.values import HttpConfig

log = logging.getLogger(__name__)

METRIC_NAMES_PATH = "/api/v1/label/__name__/values"
LIMIT_STATUSES = frozenset([413, 422, 503])
"""Statuses of queries that exceed a limit: of samples or series (422), bytes (413), or time (503)."""
MAX_RESPONSE_SECONDS = 120.0
"""Limit of one complete response. A server that sends a byte now and then must not hold an evaluation."""

VICTORIAMETRICS_HEADER = "X-Server-Hostname"
"""Header of every answer of VictoriaMetrics. It leaves the last 30 s out of results (`-search.latencyOffset`) unless a
query has `latency_offset`. Other servers do not get the parameter: Google's API refuses unknown ones."""
_RESERVED = frozenset(["bool", "on", "ignoring", "group_left", "group_right", "atan2", "inf", "nan"])
"""Words that cannot be a metric name before braces in PromQL, in any case."""


def promql(query: Query) -> str:
    """Return the query in PromQL.

    `last` also evaluates the instant vector, which respects staleness markers; `last_over_time` skips them.
    """
    metric = query.series_name
    selector = _selector(metric, query.matchers)
    window = f"[{round(query.window * 1000)}ms]"
    match query.reduce:
        case "last":
            inner = f"last_over_time({selector}{window}) and {selector}"
        case "rate":
            inner = f"rate({selector}{window})"
        case "increase" | "buckets":
            inner = f"increase({selector}{window})"
    if query.by is None:
        return inner
    keep = dict.fromkeys((*query.by, "le") if query.reduce == "buckets" else query.by)
    return f"sum by ({', '.join(keep)}) ({inner})"


def _selector(metric: str, matchers: tuple[Matcher, ...]) -> str:
    conditions = [f"{matcher.label}{matcher.op}{promql_string(matcher.value)}" for matcher in matchers]
    if metric.lower() in _RESERVED:
        conditions.insert(0, f"__name__={promql_string(metric)}")
        metric = ""
    return f"{metric}{{{','.join(conditions)}}}" if conditions else metric


class PrometheusSource(MetricSource):
    """A `MetricSource` over the Prometheus HTTP API. Thread-safe.

    Args:
        url: base URL of the API, such as http://prometheus:9090 or http://mimir/prometheus.
        match: PromQL matchers, such as `namespace="shop"`, of the series whose names and samples are read.
        timeout: seconds without data, also passed to the server as the limit of a query.
        config, config_option, transport, max_seconds, max_body: see `ApiClient`, also for the errors.
    """

    def __init__(
        self,
        url: str,
        *,
        config: HttpConfig | None = None,
        config_option: str = "--prometheus-config",
        match: str = "",
        timeout: float = 30.0,
        max_seconds: float = MAX_RESPONSE_SECONDS,
        transport: httpx.BaseTransport | None = None,
        max_body: int = MAX_BODY_BYTES,
    ) -> None:
        smaller = "use a longer step or a shorter range"
        self._api = ApiClient(
            "Prometheus",
            url,
            smaller=smaller,
            config=config,
            config_option=config_option,
            timeout=timeout,
            max_seconds=max_seconds,
            max_body=max_body,
            transport=transport,
        )
        self.name, self._timeout, self._match = self._api.name, timeout, match
        self._also = f",{match}" if match else ""
        self._names_unavailable = False
        self._is_victoriametrics = False

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """See `MetricSource.fetch`; the grid has whole milliseconds."""
        times = grid(start, end, step)
        first, width = round(start * 1000), round(step * 1000)
        if width < 1:
            raise ValueError(f"step: {step} s is too short. Use at least 1 ms")
        params = {
            "query": promql(query),
            "start": _seconds(first),
            "end": _seconds(first + width * (len(times) - 1)),
            "step": _seconds(width),
            "timeout": f"{self._timeout:.0f}s",
            **self._newest(),
        }
        data = self._data(*self._api.send("POST", "/api/v1/query_range", data=params))
        try:
            series = [(_labels(one["metric"]), one.get("values", ())) for one in data["result"]]
            rows = {labels: _row(values, first, width, times) for labels, values in series}
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self._api.unexpected(f"{type(error).__name__} {error}") from error
        return Matrix.of(times, rows)

    def samples(self, metric: str, start: float, end: float) -> Iterator[tuple[Labels, Floats]]:
        """The samples of a metric in (start, end], Unix seconds, as they were scraped: labels, and shape (samples, 2).

        The columns are Unix seconds and values. The server leaves out staleness markers. Native
        histograms have no values, and are left out.

        Raises:
            SourceError: the source cannot answer.
        """
        window = round((end - start) * 1000)
        selector = f"{{__name__={promql_string(metric)}{self._also}}}"
        params = self._instant(f"{selector}[{window}ms]", end)
        data = self._data(*self._api.send("POST", "/api/v1/query", data=params))
        try:
            for one in data["result"]:
                if "values" not in one and "histograms" in one:
                    continue
                rows = np.empty((len(one["values"]), 2))
                rows[:, 0] = [time for time, _ in one["values"]]
                rows[:, 1] = [float(value) for _, value in one["values"]]
                yield _labels(one["metric"]), rows[rows[:, 0] > start]  # Prometheus 2 has the sample at the start
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._api.unexpected(f"{type(error).__name__} {error}") from error

    def series_count(self, time: float) -> int | None:
        """Number of series at a time (Unix seconds); None if the server refuses to count them."""
        selector = f'{{__name__=~".+"{self._also}}}'
        try:
            data = self._data(*self._api.send("POST", "/api/v1/query", data=self._instant(f"count({selector})", time)))
            return int(data["result"][0]["value"][1])
        except (SourceError, KeyError, IndexError, TypeError, ValueError):
            return None

    def answers(self) -> bool:
        """Whether the address is that of a Prometheus API.

        Raises:
            SourceError: it cannot be reached, or demands credentials.
        """
        response, body = self._api.send("GET", "/api/v1/query", params={"query": "vector(1)"})
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError:
            return False
        return response.status_code == 200 and isinstance(answer, dict) and answer.get("status") == "success"

    def metric_names(self) -> frozenset[str]:
        """See `MetricSource.metric_names`."""
        return self._names({})

    def names_between(self, start: float, end: float) -> frozenset[str] | None:
        """See `NamedMetricSource.names_between`.

        Without a range, some servers search all their data and others only recent data. Some proxies refuse this
        request, and a large fleet may have more names than fit into one response.
        """
        try:
            names = self._names({"start": f"{start:.3f}", "end": f"{end:.3f}"})
        except SourceError as error:
            if not self._names_unavailable:
                log.warning("querying every known metric, because the list of metrics is not available: %s", error)
            self._names_unavailable = True
            return None
        self._names_unavailable = False
        return names

    def _instant(self, query: str, time: float) -> dict[str, str]:
        return {"query": query, "time": f"{time:.3f}", "timeout": f"{self._timeout:.0f}s", **self._newest()}

    def _newest(self) -> dict[str, str]:
        """The parameter by which VictoriaMetrics includes the newest samples."""
        return {"latency_offset": "1ms"} if self._is_victoriametrics else {}

    def _names(self, params: dict[str, str]) -> frozenset[str]:
        params |= {"match[]": f"{{{self._match}}}"} if self._match else {}
        names = self._data(*self._api.send("GET", METRIC_NAMES_PATH, params=params))
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._api.unexpected("names that are not a list of texts")
        return frozenset(names)

    def _data(self, response: httpx.Response, body: bytes) -> Any:  # noqa: ANN401 - JSON
        self._is_victoriametrics = self._is_victoriametrics or VICTORIAMETRICS_HEADER in response.headers
        status = response.status_code
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise SourceError(
                f"{self.name}: returned {status} with {response.headers.get('content-type', 'no content type')}, not "
                f"Prometheus' JSON ({body[:60]!r}); use the base URL of its API, without /graph or /api/v1"
            ) from error
        if not isinstance(answer, dict) or "status" not in answer:
            raise self._api.unexpected(f"{status} without a status field")
        if answer["status"] != "success" or "data" not in answer:
            kind, message = answer.get("errorType", "error"), answer.get("error", "no message")
            kind_of_error = LimitError if status in LIMIT_STATUSES else SourceError
            raise kind_of_error(f"{self.name}: returned {status} {kind}: {message}")
        return answer["data"]


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"


def _labels(metric: Mapping[str, str]) -> Labels:
    return tuple(sorted((name, value) for name, value in metric.items() if name != "__name__" and value))


def _row(values: Any, first: int, width: int, times: Floats) -> Floats:  # noqa: ANN401 - JSON
    row = np.full(len(times), np.nan)
    if values:
        seconds = np.array([time for time, _ in values], dtype=np.float64)
        columns = np.rint((seconds * 1000 - first) / width).astype(np.int64)
        if columns.min() < 0:
            raise ValueError("a time outside the range")
        row[columns] = [float(value) for _, value in values]
    return row
