"""Three real HTTP services, in processes of their own and traced by OpenTelemetry's packages, are seen as they were."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from foreshock_dashboard.ingest.span_metrics.histogram import LE_VALUES
from foreshock_dashboard.ingest.span_metrics.span_metrics import SpanMetrics
from foreshock_dashboard.model.samples import Sample
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

pytestmark = pytest.mark.slow

SERVICE = Path(__file__).with_name("real_service.py")
SECONDS = {"web": 0.001, "orders": 0.002, "stock": 0.03}
FAILURES = [0, 1, 0, 2, 0, 0, 1, 3, 0, 5, 0, 1]
"""How many attempts at `stock` fail, for each request; three attempts are made at most, by `web` and by `orders`."""


class Collected:
    """The hub's share: what the receiver got, and the metrics that came of it."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics = SpanMetrics(ttl=300, slack=3600)
        self.lock = threading.Lock()

    def accept(self, spans: Sequence[Span]) -> None:
        with self.lock:
            self.spans.extend(spans)
            self.metrics.add(spans, time.time())


def start(stack: ExitStack, otlp: str, name: str, downstream: str) -> tuple[subprocess.Popen[str], str]:
    """Start a service; it is ended with the stack."""
    command = [sys.executable, str(SERVICE), "--name", name, "--otlp", otlp, "--downstream", downstream]
    process = stack.enter_context(
        subprocess.Popen([*command, "--seconds", str(SECONDS[name])], stdout=subprocess.PIPE, text=True)
    )
    stack.callback(process.kill)
    assert process.stdout is not None
    return process, f"http://127.0.0.1:{int(process.stdout.readline())}"


@pytest.fixture(scope="module")
def outcome() -> tuple[tuple[Sample, ...], list[Span], list[dict[str, Any]]]:
    """The samples, the spans, and the calls that the callers counted, each with its edge."""
    collected = Collected()
    receiver = Receiver(accept=collected.accept)
    calls: list[dict[str, Any]] = []
    with ExitStack() as stack:
        listener = HttpListener(receiver, "127.0.0.1", 0)
        stack.callback(listener.close)
        otlp = f"http://127.0.0.1:{listener.port}/v1/traces"
        processes, url = [], ""
        for name in ("stock", "orders", "web"):
            process, url = start(stack, otlp, name, url)
            processes.append(process)
        with httpx.Client(trust_env=False, timeout=60) as client:
            for number, fail in enumerate(FAILURES):
                began = time.perf_counter()
                answer = client.get(f"{url}/job/{number}", params={"fail": fail})
                waited = time.perf_counter() - began
                failed = answer.status_code != httpx.codes.OK
                calls += [
                    {"client": "user", "failed": failed, "seconds": waited, "retry": False},
                    *answer.json()["calls"],
                ]
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(60)
    metrics = collected.metrics
    for later in (0, 301, 301):  # each new series is shown as 0 first, those of servers' durations after 300 s
        samples = metrics.collect(time.time() + later)
    return samples, collected.spans, calls


EDGES = [("user", "web"), ("web", "orders"), ("orders", "stock")]
Outcome = tuple[tuple[Sample, ...], list[Span], list[dict[str, Any]]]


def of(samples: tuple[Sample, ...], metric: str, client: str, **labels: str) -> list[float]:
    """The values of a metric on the edges of one client."""
    wanted = {("client", client), *labels.items()}
    return [sample.value for sample in samples if sample.metric == metric and wanted <= set(sample.labels)]


def test_the_graph_has_exactly_the_edges_that_were_called(outcome: Outcome) -> None:
    """With the namespaces that the services have, and the user in front of them."""
    found = [dict(sample.labels) for sample in outcome[0] if sample.metric == "traces_service_graph_request_total"]
    inner = {"client_service_namespace": "shop", "server_service_namespace": "shop"}
    assert sorted(found, key=lambda labels: labels["client"]) == [
        {"client": "orders", "server": "stock"} | inner,
        {"client": "user", "server": "web", "server_service_namespace": "shop", "connection_type": "virtual_node"},
        {"client": "web", "server": "orders"} | inner,
    ]


@pytest.mark.parametrize(("client", "server"), EDGES)
def test_requests_failures_and_retries_equal_the_counts_of_the_callers(
    outcome: Outcome, client: str, server: str
) -> None:
    """Exactly, not nearly: nothing is lost, and nothing is counted twice."""
    samples, _, calls = outcome
    mine = [call for call in calls if call["client"] == client]
    assert mine
    assert of(samples, "traces_service_graph_request_total", client, server=server) == [len(mine)]
    failed = sum(call["failed"] for call in mine)
    assert of(samples, "traces_service_graph_request_failed_total", client, server=server) == [failed]
    retries = sum(call["retry"] for call in mine)
    assert of(samples, "foreshock_retry_attempts_total", client, server=server) == [retries]


def test_the_callers_did_see_failures_and_retries(outcome: Outcome) -> None:
    """The injected errors: `orders` tries three times, then `web` tries again."""
    calls = outcome[2]
    assert [call["failed"] for call in calls if call["client"] == "user"] == [False] * len(FAILURES)
    assert sum(call["failed"] for call in calls if call["client"] == "orders") == sum(FAILURES)
    assert sum(call["failed"] for call in calls if call["client"] == "web") == 2
    assert sum(call["retry"] for call in calls) == 11 + 2


@pytest.mark.parametrize(("client", "server"), EDGES)
def test_durations_lie_between_server_sleep_and_client_wait(outcome: Outcome, client: str, server: str) -> None:
    """The sums are those of the spans, and client ≤ the caller's own stop-watch; a server may end after it."""
    samples, spans, calls = outcome
    waited = sum(call["seconds"] for call in calls if call["client"] == client)
    served = sum(span.duration_ns / 1e9 for span in spans if span.service.name == server and span.kind == "server")
    sums = [of(samples, f"traces_service_graph_request_{side}_seconds_sum", client) for side in ("server", "client")]
    requests = of(samples, "traces_service_graph_request_total", client)[0]
    assert sums[0] == [pytest.approx(served)]
    assert served > requests * SECONDS[server]
    if client == "user":
        assert sums[1] == []  # the user's side has no spans: absent, not 0
        assert served < waited
    else:
        assert requests * SECONDS[server] < sums[1][0] < waited


@pytest.mark.parametrize(("client", "server"), EDGES[1:])
@pytest.mark.parametrize("side", ["client", "server"])
def test_buckets_hold_each_request_once(outcome: Outcome, client: str, server: str, side: str) -> None:
    """They grow with their bounds, end with the count of all, and none is faster than its server slept."""
    name = f"traces_service_graph_request_{side}_seconds"
    buckets = [of(outcome[0], f"{name}_bucket", client, le=le)[0] for le in LE_VALUES]
    assert all(low <= high for low, high in pairwise(buckets))
    assert buckets[-1] == of(outcome[0], f"{name}_count", client)[0]
    assert buckets[-1] == of(outcome[0], "traces_service_graph_request_total", client)[0]
    if server == "stock":
        assert buckets[LE_VALUES.index("0.025")] == 0


def test_every_span_found_its_other_half(outcome: Outcome) -> None:
    """Nothing unpaired, late, twice, or dropped."""
    lost = [sample for sample in outcome[0] if sample.metric.startswith(("foreshock_service_graph", "foreshock_spans"))]
    assert lost
    assert all(sample.value == 0 for sample in lost)
