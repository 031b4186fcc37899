"""A Prometheus that is slow, throttles, or breaks: the last values stay, and it is not asked again and again."""

from __future__ import annotations

import math
from collections.abc import Callable

import httpx
import pytest

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.analysis_loop import MAX_RETRY_SECONDS, AnalysisLoop, LoopInputs
from foreshock_dashboard.hub.memory import Memory
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.clusters import ClusterSource
from foreshock_dashboard.sources.prometheus.api import CONCURRENCY, PrometheusSource

START = 1_800_000_000.0


def timeout(_: httpx.Request) -> httpx.Response:
    """No answer in time."""
    raise httpx.ReadTimeout("slow")


def no_connection(_: httpx.Request) -> httpx.Response:
    """Nothing listens."""
    raise httpx.ConnectTimeout("away")


def defect(_: httpx.Request) -> httpx.Response:
    """An exception that nothing expects."""
    raise RuntimeError("a defect")


HALF = b'{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"job":"a"},"values":[[1,"1"'
FAULTS: dict[str, tuple[Callable[[httpx.Request], httpx.Response], float]] = {
    "429 with Retry-After": (lambda _: httpx.Response(429, headers={"retry-after": "120"}, text="slow down"), 120.0),
    "503 with Retry-After": (lambda _: httpx.Response(503, headers={"retry-after": "90"}, text="<html>"), 90.0),
    "429 with a date": (lambda _: httpx.Response(429, headers={"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}), 0.0),
    "500": (lambda _: httpx.Response(500, json={"status": "error", "error": "out of memory"}), 0.0),
    "half an answer": (lambda _: httpx.Response(200, content=HALF), 0.0),
    "no answer": (timeout, 0.0),
    "connection": (no_connection, 0.0),
    "defect": (defect, 0.0),
}


class Platform:
    """A loop over a Prometheus with one target, which has the fault of the moment."""

    def __init__(self) -> None:
        self.now, self.requests = START, 0
        self.fault, self.fault_after_names = "", ""
        self.statuses: list[int] = []
        self.warnings: list[str] = []
        source = PrometheusSource(
            "http://prom", transport=httpx.MockTransport(self._counted), monotonic=lambda: self.now
        )
        memory = Memory(Settings().memory_limit)
        inputs = LoopInputs(ClusterSource(source, labels=()), is_own_store=False, write=None, memory=memory)
        self.loop = AnalysisLoop(Settings(), Clock(wall=lambda: self.now), inputs)

    def evaluate(self, seconds: float = 10.0) -> None:
        """Evaluate after so many seconds."""
        self.now, self.requests = self.now + seconds, 0
        self.loop.evaluate()

    def _counted(self, request: httpx.Request) -> httpx.Response:
        self.requests += 1
        response = FAULTS[self.fault][0](request) if self.fault else self._answer(request)
        self.statuses.append(response.status_code)
        return response

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/values"):
            self.fault = self.fault_after_names
            return httpx.Response(200, json={"status": "success", "data": ["up"]})
        sent = httpx.QueryParams(request.content.decode())
        start, end, step = (float(sent[name]) for name in ("start", "end", "step"))
        times = [start + number * step for number in range(int((end - start) / step) + 1)]
        series = {"metric": {"instance": "a:1", "job": "a"}, "values": [[time, "1"] for time in times]}
        body = {"status": "success", "data": {"resultType": "matrix", "result": [series]}, "warnings": self.warnings}
        return httpx.Response(200, json=body)


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "defect"])
def test_a_failing_server_keeps_the_last_values_and_is_left_alone(fault: str) -> None:
    """For longer and longer, or as it says; what was missed is read later."""
    platform, wanted = Platform(), FAULTS[fault][1]
    platform.evaluate()
    before = platform.loop.snapshot
    assert before.world
    assert platform.loop.retry_seconds == 0.0

    platform.fault = fault
    waits = []
    begin = platform.now
    for _ in range(8):
        platform.evaluate(max(10.0, 10.0 * math.ceil(platform.loop.retry_seconds / 10.0)))
        waits.append(platform.loop.retry_seconds)
        assert platform.requests <= 1 + CONCURRENCY
        assert platform.requests == 1 or fault in ("half an answer", "no answer", "connection")
        assert platform.loop.snapshot.world is before.world
        assert platform.loop.snapshot.error
    assert all(wanted <= wait <= max(wanted, MAX_RETRY_SECONDS) for wait in waits)
    assert wanted or waits[0] <= 5.0
    assert waits[-1] >= MAX_RETRY_SECONDS / 2

    platform.fault = ""
    platform.evaluate(300.0)
    assert platform.loop.retry_seconds == 0.0
    assert not platform.loop.snapshot.error
    after = platform.loop.snapshot.world
    assert after
    assert len(after.times) == len(before.world.times) + round((platform.now - begin) / 10.0)


@pytest.mark.parametrize("fault", ["429 with Retry-After", "429 with a date", "500"])
def test_a_server_that_fails_the_preview_gets_no_more_requests(fault: str) -> None:
    """The evaluation would send many."""
    platform = Platform()
    platform.fault_after_names = fault
    platform.evaluate()
    assert sum(status != 200 for status in platform.statuses) == 1
    assert platform.loop.snapshot.error
    assert platform.loop.retry_seconds > 0.0


def test_after_a_defect_the_next_evaluation_does_not_wait_as_an_earlier_answer_asked() -> None:
    """That time is over."""
    platform = Platform()
    platform.fault = "429 with Retry-After"
    platform.evaluate()
    assert platform.loop.retry_seconds == 120.0
    platform.fault = "defect"
    platform.evaluate(120.0)
    assert "a defect" in platform.loop.snapshot.error
    assert platform.loop.retry_seconds == 0.0


def test_a_warning_of_the_server_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """Such as of a Thanos, of which a store does not answer."""
    platform = Platform()
    note = "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket"
    platform.warnings = [note, "store eu did not answer"]
    platform.evaluate()
    platform.evaluate()
    assert [record.message for record in caplog.records if "answers may be incomplete" in record.message] == [
        "Prometheus http://prom: answers may be incomplete: store eu did not answer"
    ]
