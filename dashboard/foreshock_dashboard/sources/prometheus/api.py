"""Client of the Prometheus HTTP API (Prometheus, Mimir, Thanos, VictoriaMetrics)."""

from __future__ import annotations

import logging
import math
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from threading import Lock
from typing import Any

import httpx
import numpy as np
import orjson
from cachetools import LRUCache, TTLCache

from foreshock_dashboard.model.query import (
    LimitError,
    Matrix,
    MetricSource,
    Query,
    SizeError,
    SourceError,
    grid,
    promql_string,
)
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.sources.http_client import MAX_BODY_BYTES, ApiClient
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.sources.prometheus.pacing import (
    MAX_RETRY_AFTER_SECONDS,
    MIN_PAUSE_SECONDS,
    RequestGate,
    UnionSize,
)
from foreshock_dashboard.sources.prometheus.promql import promql, union
from foreshock_dashboard.sources.prometheus.range_result import (
    RangeResult,
    SeriesLayout,
    labels_of_metric,
    layout_of,
    matrices,
    of_objects,
    of_text,
)

log = logging.getLogger(__name__)

METRIC_NAMES_PATH = "/api/v1/label/__name__/values"
LIMIT_STATUSES = {413: SizeError, 422: SizeError, 503: LimitError}
"""Statuses of queries that exceed a limit: of bytes (413), samples or series (422), or time (503)."""
_SIZE_TEXT = re.compile(r"too many|maximum|more than|limit|(?<!deadline )exceed", re.IGNORECASE)
"""In the errors about size with status 422 of Prometheus, Mimir, Thanos, and VictoriaMetrics; other queries failed."""
CONCURRENCY = 4
"""Requests that are open at once: a server computes the next answers while the hub decodes one."""
MAX_UNION_POINTS = 12
"""Grid points up to which several queries are sent as one: long ranges have large answers already."""
MAX_UNION_BYTES = 1 << 20
"""Expected size of an answer from which queries are sent by themselves."""
SERIES_BYTES, SAMPLE_BYTES = 170, 30
"""Of a typical answer: labels of a series, and each sample."""
MAX_LAYOUTS, LAYOUT_SECONDS = 1000, 300.0
"""Queries whose series are kept until their next result, and for how long: results over few points come often."""
NOTE_PREFIX = "PromQL info: "
"""Beginning of a note that is no warning: the answer is complete."""
MAX_WARNINGS = 20
"""Different warnings of a server that are logged."""
MAX_RESPONSE_SECONDS = 120.0
"""Limit of one complete response. A server that sends a byte now and then must not hold an evaluation."""

VICTORIAMETRICS_HEADER = "X-Server-Hostname"
"""Header of every answer of VictoriaMetrics. It leaves the last 30 s out of results (`-search.latencyOffset`) unless a
query has `latency_offset`. Other servers do not get the parameter: Google's API refuses unknown ones."""


class _Batch:
    """The requests of one call. union_size: most queries in one; 0 where each is sent by itself.

    error: the first one of any, after which none of the others is sent. A context manager around each.
    """

    def __init__(self, union_size: int = 0) -> None:
        self.union_size = union_size
        self.error: SourceError | None = None

    def fail(self, error: SourceError) -> None:
        """Send none of the others."""
        self.error = self.error or error

    def __enter__(self) -> None:
        if self.error:
            raise self.error

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        if isinstance(error, SourceError) and not isinstance(error, SizeError):
            self.fail(error)


class PrometheusSource(MetricSource):
    """A `MetricSource` over the Prometheus HTTP API. Thread-safe.

    Args:
        url: base URL of the API, such as http://prometheus:9090 or http://mimir/prometheus.
        match: PromQL matchers, such as `namespace="shop"`, of the series whose names and samples are read.
        concurrency: requests at once; further ones wait.
        timeout: seconds without data, also passed to the server as the limit of a query.
        config, config_option, transport, max_seconds, max_body: see `ApiClient`, also for the errors.
        monotonic: clock of the time for which the server wants to be left alone.
    """

    def __init__(
        self,
        url: str,
        *,
        config: HttpConfig | None = None,
        config_option: str = "--prometheus-config",
        match: str = "",
        concurrency: int = CONCURRENCY,
        timeout: float = 30.0,
        max_seconds: float = MAX_RESPONSE_SECONDS,
        transport: httpx.BaseTransport | None = None,
        max_body: int = MAX_BODY_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
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
        self._concurrency = concurrency
        self._gate, self._unions = RequestGate(concurrency, monotonic), UnionSize()
        self._layouts = TTLCache[str, SeriesLayout](MAX_LAYOUTS, LAYOUT_SECONDS, monotonic)
        self._sizes = LRUCache[Query, int](MAX_LAYOUTS)
        self._known_lock, self._decoding = Lock(), Lock()
        self._monotonic = monotonic
        self._shared: dict[Any, Any] = {}
        self._shared_since = -math.inf
        self._warnings: set[str] = set()
        self._names_unavailable = False
        self._is_victoriametrics = False

    def close(self) -> None:
        """Close the connections."""
        self._api.close()

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """See `MetricSource.fetch`; the grid has whole milliseconds."""
        [matrix] = self._fetch((query,), start, end, step, _Batch())
        return matrix

    def fetch_all(self, queries: Sequence[Query], start: float, end: float, step: float) -> Iterator[Matrix]:
        """See `MetricSource.fetch_all`; several queries over few points are one request, and requests overlap."""
        points = len(grid(start, end, step))
        batch = _Batch(self._unions.size if points <= MAX_UNION_POINTS else 0)
        parts = self._parts(queries, batch.union_size or 1, points)

        def fetch(part: Sequence[int]) -> Sequence[Matrix]:
            return self._fetch([queries[number] for number in part], start, end, step, batch)

        answers = self._overlapping(fetch, parts, batch) if len(parts) > 1 else chain.from_iterable(map(fetch, parts))
        order = [*chain.from_iterable(parts)]
        if order == sorted(order):
            return answers
        found = dict(zip(order, answers, strict=True))
        return map(found.__getitem__, range(len(queries)))

    def _parts(self, queries: Sequence[Query], most: int, points: int) -> Sequence[Sequence[int]]:
        """The numbers of the queries of each request: at most `most`, with answers that together are not large.

        A union takes the server nearly twice the CPU of its queries, and a large answer is in memory several times
        while it is decoded.
        """
        with self._known_lock:
            series = [self._sizes.get(query, 0) for query in queries]
        # A few series more must not divide the queries otherwise.
        expected = [1 << (size * (SERIES_BYTES + SAMPLE_BYTES * points)).bit_length() for size in series]
        parts, room = list[list[int]](), 0
        for number in sorted(range(len(queries)), key=expected.__getitem__):
            if not parts or len(parts[-1]) == most or expected[number] > room:
                parts.append([])
                room = MAX_UNION_BYTES
            parts[-1].append(number)
            room -= expected[number]
        return parts

    def _overlapping(
        self, fetch: Callable[[Sequence[int]], Sequence[Matrix]], parts: Sequence[Sequence[int]], batch: _Batch
    ) -> Iterator[Matrix]:
        """The answers of all parts in order, of which `concurrency` are fetched at once, and none after a failure."""
        waiting, pending = iter(parts), deque[Future[Sequence[Matrix]]]()
        with ThreadPoolExecutor(self._concurrency, "prometheus") as pool:
            try:
                pending.extend(pool.submit(fetch, part) for part in islice(waiting, self._concurrency))
                while pending:
                    found = pending.popleft().result()
                    if batch.error:
                        raise batch.error
                    pending.extend(pool.submit(fetch, part) for part in islice(waiting, 1))
                    yield from found
            finally:
                batch.fail(SourceError(f"{self.name}: the responses are no longer needed"))
                pool.shutdown(cancel_futures=True)

    def _fetch(
        self, queries: Sequence[Query], start: float, end: float, step: float, batch: _Batch, halved: int = 0
    ) -> Sequence[Matrix]:
        """The answers of one request. After one that was too much for the server, fewer queries are sent as one.

        halved: how often a union was halved because its answer was too large.
        """
        times = grid(start, end, step)
        first, width = round(start * 1000), round(step * 1000)
        if width < 1:
            raise ValueError(f"step: {step} s is too short. Use at least 1 ms")
        params = {
            "query": union(queries) if len(queries) > 1 else promql(queries[0]),
            "start": _seconds(first),
            "end": _seconds(first + width * (len(times) - 1)),
            "step": _seconds(width),
            "timeout": f"{self._timeout:.0f}s",
            **self._newest(),
        }
        status = 0
        try:
            with self._gate.slot(), batch:
                response, body = self._api.send("POST", "/api/v1/query_range", data=params)
                if (status := response.status_code) >= 400:
                    self._data(response, body)  # before the next request
            with self._decoding:
                found = of_text(body) if status == 200 else None
                data = self._checked(response, found[0]) if found else self._data(response, body)
                del body
        except SourceError as error:
            if len(queries) > 1 and (isinstance(error, LimitError) or (status >= 400 and status != 429)):
                self._unions.refused(batch.union_size >> halved)
            if len(queries) > 1 and isinstance(error, SizeError):
                half = -(-len(queries) // 2)
                return [
                    matrix
                    for part in (queries[:half], queries[half:])
                    for matrix in self._fetch(part, start, end, step, batch, halved + 1)
                ]
            batch.fail(error)
            raise
        self._unions.answered(batch.union_size)
        try:
            result = found[1] if found else of_objects(data["result"])
            return matrices(result, self._layout(params["query"], result, queries), first, width, times)
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise self._api.unexpected(f"{type(error).__name__} {error}") from error

    def _layout(self, text: str, result: RangeResult, queries: Sequence[Query]) -> SeriesLayout:
        """The layout of a result; that of results over few points is kept, because the next one comes soon."""
        with self._known_lock:
            known = self._layouts.get(text)
        layout = layout_of(result.heads, len(queries), known, self._shared_labels())
        with self._known_lock:
            if known or len(result.seconds) <= MAX_UNION_POINTS * len(result.heads):
                self._layouts[text] = layout
            for query, (labels, _) in zip(queries, layout.by_query, strict=True):
                self._sizes[query] = len(labels)
        return layout

    def _shared_labels(self) -> dict[Any, Any]:
        """Labels of lately decoded results, each once; forgotten now and then, because series come and go."""
        if self._monotonic() - self._shared_since > LAYOUT_SECONDS:
            self._shared, self._shared_since = {}, self._monotonic()
        return self._shared

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
        data = self._request("POST", "/api/v1/query", data=params)
        try:
            for one in data["result"]:
                if "values" not in one and "histograms" in one:
                    continue
                rows = np.empty((len(one["values"]), 2))
                rows[:, 0] = [time for time, _ in one["values"]]
                rows[:, 1] = [float(value) for _, value in one["values"]]
                yield (
                    labels_of_metric(one["metric"]),
                    rows[rows[:, 0] > start],
                )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise self._api.unexpected(f"{type(error).__name__} {error}") from error

    def series_count(self, time: float) -> int | None:
        """Number of series at a time (Unix seconds); None if the server refuses to count them."""
        selector = f'{{__name__=~".+"{self._also}}}'
        try:
            return int(self._instant_value(f"count({selector})", time)) or None
        except SourceError:
            return None

    def _instant_value(self, query: str, time: float) -> float:
        """The value of a query with at most one series; 0 without one. Raises SourceError."""
        data = self._request("POST", "/api/v1/query", data=self._instant(query, time))
        try:
            return float(data["result"][0]["value"][1]) if data["result"] else 0.0
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._api.unexpected(f"{type(error).__name__} {error}") from error

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
        request, and a large fleet may have more names than fit into one response. An overloaded server gets no more.
        """
        try:
            names = self._names({"start": f"{start:.3f}", "end": f"{end:.3f}"})
        except SourceError as error:
            if error.is_transient:
                raise
            if not self._names_unavailable:
                log.warning("querying every known metric, because the list of metrics is not available: %s", error)
            self._names_unavailable = True
            return None
        self._names_unavailable = False
        return names

    def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        data: Mapping[str, str] | None = None,
    ) -> Any:  # noqa: ANN401 - JSON
        """The data of the answer to one request."""
        with self._gate.slot():
            response, body = self._api.send(method, path, params=params, data=data)
            if response.status_code >= 400:
                self._data(response, body)  # before the next request
        return self._data(response, body)

    def _instant(self, query: str, time: float) -> dict[str, str]:
        return {"query": query, "time": f"{time:.3f}", "timeout": f"{self._timeout:.0f}s", **self._newest()}

    def _newest(self) -> dict[str, str]:
        """The parameter by which VictoriaMetrics includes the newest samples."""
        return {"latency_offset": "1ms"} if self._is_victoriametrics else {}

    def _names(self, params: dict[str, str]) -> frozenset[str]:
        params |= {"match[]": f"{{{self._match}}}"} if self._match else {}
        names = self._request("GET", METRIC_NAMES_PATH, params=params)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise self._api.unexpected("names that are not a list of texts")
        return frozenset(names)

    def _data(self, response: httpx.Response, body: bytes) -> Any:  # noqa: ANN401 - JSON
        status = response.status_code
        if status == 429:
            raise self._throttled(self._api.failed(response, body), response)
        try:
            answer = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            if status >= 500:
                raise self._throttled(self._api.failed(response, body), response) from None
            raise SourceError(
                f"{self.name}: returned {status} with {response.headers.get('content-type', 'no content type')}, not "
                f"Prometheus' JSON ({body[:60]!r}); use the base URL of its API, without /graph or /api/v1"
            ) from error
        return self._checked(response, answer)

    def _checked(self, response: httpx.Response, answer: Any) -> Any:  # noqa: ANN401 - JSON
        self._is_victoriametrics = self._is_victoriametrics or VICTORIAMETRICS_HEADER in response.headers
        status = response.status_code
        if not isinstance(answer, dict) or "status" not in answer:
            raise self._api.unexpected(f"{status} without a status field")
        if answer["status"] != "success" or "data" not in answer:
            kind, message = answer.get("errorType", "error"), answer.get("error", "no message")
            is_other = status == 422 and not _SIZE_TEXT.search(str(message))
            kind_of_error = SourceError if is_other else LIMIT_STATUSES.get(status, SourceError)
            raise self._throttled(kind_of_error(f"{self.name}: returned {status} {kind}: {message}"), response)
        self._warn_of(answer)
        return answer["data"]

    def _throttled(self, error: SourceError, response: httpx.Response) -> SourceError:
        """The error with the seconds of the header Retry-After, in which a date counts as none.

        Until then, no request of any reader is sent.
        """
        wait = response.headers.get("retry-after", "").strip()
        error.retry_after = min(MAX_RETRY_AFTER_SECONDS, float(wait)) if wait.isdecimal() else 0.0
        is_throttled = response.status_code == 429
        error.is_transient = is_throttled or response.status_code >= 500
        self._gate.close_for(max(error.retry_after, MIN_PAUSE_SECONDS if is_throttled else 0.0), str(error))
        return error

    def _warn_of(self, answer: Mapping[str, Any]) -> None:
        """Log each warning once, such as of stores that did not answer a Thanos: the answer may lack series.

        Prometheus 2 gives its notes on queries, such as on a counter without the suffix _total, as warnings as well.
        """
        warnings = [text for text in map(str, answer.get("warnings") or ()) if not text.startswith(NOTE_PREFIX)]
        if answer.get("isPartial") is True:
            warnings.append("a storage node did not answer")
        for text in set(warnings) - self._warnings if len(self._warnings) < MAX_WARNINGS else ():
            self._warnings.add(text)
            log.warning("%s: answers may be incomplete: %s", self.name, text)


def _seconds(milliseconds: int) -> str:
    return f"{milliseconds / 1000:.3f}"
