"""Results of OTLP pushes: failures, counters, and log messages. Documented in docs/reference/metrics.md."""

from __future__ import annotations

import threading
from typing import Any, Literal, NamedTuple

import requests

from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.family import Families, Family, Sample

Signal = Literal["metrics", "traces"]
SIGNALS: tuple[Signal, ...] = ("metrics", "traces")

OTLP_PUSHED = Family(
    "foreshock_exporter_otlp_pushed_total",
    "counter",
    ("signal",),
    "Data points (metrics) and spans (traces) accepted by the OTLP endpoint, by signal.",
)
OTLP_FAILED = Family(
    "foreshock_exporter_otlp_failed_total",
    "counter",
    ("signal",),
    "Data points and spans lost because the OTLP endpoint did not accept them, by signal.",
)
OTLP_SPANS_DROPPED = Family(
    "foreshock_exporter_otlp_spans_dropped_total",
    "counter",
    ("reason",),
    "Occupancy spans dropped, by the limit reached: spans per second per GPU (rate) or queued spans (queue).",
)

FAMILIES: tuple[Family, ...] = tuple(value for value in globals().values() if isinstance(value, Family))
"""All families of this module."""

SOURCES: dict[Family, str] = dict.fromkeys(FAMILIES, "itself")
"""Origin of each metric."""


class PushFailure(NamedTuple):
    """Failed push. `status` is the HTTP status, None without a response."""

    message: str
    status: int | None = None

    @property
    def is_transient(self) -> bool:
        """Whether a retry may succeed (OTLP/HTTP: no response, 429, or 5xx)."""
        return self.status is None or self.status == 429 or self.status >= 500


class RecordingSession(requests.Session):
    """Session that records the failure of the last request. Not thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self.failure: PushFailure | None = None

    def send(self, request: requests.PreparedRequest, **options: Any) -> requests.Response:  # noqa: ANN401 - passed on as they came
        try:
            response = super().send(request, **options)
        except requests.RequestException as error:
            self.failure = PushFailure(_describe_error(error))
            raise
        status_line = f"HTTP {response.status_code} {response.reason}".rstrip()
        self.failure = None if response.ok else PushFailure(status_line, response.status_code)
        return response

    def last_failure(self) -> PushFailure:
        return self.failure or PushFailure("the push was not sent; --log.level=debug says more", 400)


def _describe_error(error: BaseException) -> str:
    """System error of a connection in one line, without the layers around it."""
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    message, cause = "", error.__context__
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            message = cause.strerror
        cause = cause.__cause__ or cause.__context__
    return message or type(error).__name__


class PushReport:
    """Counts and logs the pushes to one endpoint. Thread-safe.

    An unreachable endpoint is logged once for all signals, a refused signal once per signal, and each recovery once.
    """

    def __init__(self, endpoint: str) -> None:
        self._endpoint = f"OTLP endpoint {endpoint}"
        self._problems = ProblemLog()
        self._lock = threading.Lock()
        self._pushed: dict[Signal, int] = dict.fromkeys(SIGNALS, 0)
        self._failed: dict[Signal, int] = dict.fromkeys(SIGNALS, 0)
        self._unreachable = False
        self._failing: set[Signal] = set()

    def pushed(self, signal: Signal, items: int) -> None:
        """Record accepted data points or spans."""
        with self._lock:
            self._pushed[signal] += items
            self._failing.discard(signal)
            self._responded()
            self._problems.resolve(self._refusal(signal), f"{self._endpoint}: takes {signal} again")

    def failed(self, signal: Signal, lost_items: int, failure: PushFailure) -> None:
        """Record a failed push and the number of lost data points or spans."""
        with self._lock:
            self._failed[signal] += lost_items
            self._failing.add(signal)
            if failure.status is None:
                self._unreachable = True
                self._problems.report(self._endpoint, f"{failure.message}; lost data points and spans are counted")
                return
            self._responded()
            self._problems.report(self._refusal(signal), failure.message)

    def failing(self, signal: Signal) -> bool:
        """Whether the last push of the signal failed, or the endpoint is unreachable."""
        with self._lock:
            return self._unreachable or signal in self._failing

    def families(self, too_many: int, queue_full: int) -> Families:
        """Counters as families. `too_many`, `queue_full`: spans dropped for these reasons."""
        with self._lock:
            return (
                (OTLP_PUSHED, [Sample((signal,), self._pushed[signal]) for signal in SIGNALS]),
                (OTLP_FAILED, [Sample((signal,), self._failed[signal]) for signal in SIGNALS]),
                (OTLP_SPANS_DROPPED, [Sample(("rate",), too_many), Sample(("queue",), queue_full)]),
            )

    def _responded(self) -> None:
        self._unreachable = False
        self._problems.resolve(self._endpoint, f"{self._endpoint}: answers again")

    def _refusal(self, signal: Signal) -> str:
        return f"{self._endpoint}: takes no {signal}"
