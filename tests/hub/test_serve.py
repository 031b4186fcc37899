"""`foreshock serve` as a process: what goes in comes out, and what is wrong is said."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from tests.hub.process import BIN

Serve = Any
Eventually = Callable[..., None]
FAST = ("--scrape-interval", "1s", "--evaluation-interval", "1s", "--rate-window", "9.5s")


def send_call(endpoint: str, *, failed: bool = False) -> str:
    """A request from `web` to `llm`, through the real SDK; gives its trace id."""
    providers = [
        TracerProvider(resource=Resource({"service.name": name}), shutdown_on_exit=False) for name in ("web", "llm")
    ]
    for provider in providers:
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    web, llm = (provider.get_tracer("test") for provider in providers)
    client = web.start_span("POST /generate", kind=SpanKind.CLIENT)
    server = llm.start_span("POST /generate", kind=SpanKind.SERVER, context=set_span_in_context(client))
    if failed:
        server.set_status(Status(StatusCode.ERROR, "out of memory"))
    server.end()
    client.end()
    for provider in providers:
        provider.shutdown()
    return f"{client.get_span_context().trace_id:032x}"


def names(answer: httpx.Response, key: str) -> list[dict[str, Any]]:
    """A list out of a JSON answer."""
    found: list[dict[str, Any]] = answer.json()[key]
    return found


def test_scrapes_and_spans_come_out_as_gpus_edges_and_traces(
    serve: Serve, exporter: str, eventually: Eventually
) -> None:
    """One hub, one exporter, one request: all of it is on the API, and the hub's own metrics pass promtool."""
    hub = serve("--targets", exporter, *FAST)
    trace = send_call(hub.otlp, failed=True)

    eventually(lambda: len(names(hub.get("/api/gpus"), "gpus")) == 4, "four GPUs")
    eventually(lambda: names(hub.get("/api/contention"), "pairs") != [], "a pair with GPU wait")
    eventually(
        lambda: {"web", "llm"} <= {s["service"] for s in names(hub.get("/api/services"), "services")}, "both services"
    )
    eventually(
        lambda: (
            'traces_service_graph_request_failed_total{client="web",server="llm"' in _flat(hub.get("/metrics").text)
        ),
        "the failed call is counted",
    )
    spans = names(hub.get(f"/api/traces/{trace}"), "spans")
    assert [(span["service"], span["kind"], span["status"]) for span in spans] == [
        ("web", "client", "unset"),
        ("llm", "server", "error"),
    ]
    assert [row["trace_id"] for row in names(hub.get("/api/traces?errors=true"), "traces")] == [trace]
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=hub.get("/metrics").text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_pools_come_from_the_exporter_and_tiers_from_the_hub(
    serve: Serve, mock_exporter: Callable[..., str], eventually: Eventually
) -> None:
    """As the operators of GPU hosts and of the hub wrote them, on the API and by `foreshock get pools`."""
    exporter = mock_exporter("--pool=chat=0", "--pool=batch=1")
    tiers = "assistant/chat-model=gold,platform/batch-embeddings=bronze"
    hub = serve("--targets", exporter, "--tiers", tiers, *FAST)

    def pools() -> dict[str, str | None]:
        return {gpu["gpu"]: gpu["pool"] for gpu in names(hub.get("/api/pools"), "mixed")}

    eventually(lambda: "chat" in pools().values(), "a GPU of pool chat that tiers share")
    (mixed,) = (gpu for gpu in names(hub.get("/api/pools"), "mixed") if gpu["pool"] == "chat")
    assert (mixed["tiers"]["gold"], mixed["tiers"]["bronze"]) == (
        ["assistant/chat-model"],
        ["platform/batch-embeddings"],
    )
    asked = subprocess.run(
        [str(BIN / "foreshock"), "get", "pools", "--from", hub.url],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert asked.returncode == 0, asked.stderr
    assert f"{mixed['gpu']} chat bronze: platform/batch-embeddings" in " ".join(asked.stdout.split())


def _flat(text: str) -> str:
    """Labels in the order of their names, so that a test does not depend on it."""
    return re.sub(r"\{([^}]*)\}", lambda m: "{" + ",".join(sorted(m[1].split(","))) + "}", text)


@pytest.mark.soak
def test_over_a_fleets_prometheus_the_hub_shows_the_same(
    serve: Serve, exporter: str, prometheus: Callable[..., str], eventually: Eventually, tmp_path: Path
) -> None:
    """The first hub is scraped by a real Prometheus; a second one reads it and agrees.

    Every run has hubs over a real Prometheus in tests/shared/test_two_hubs.py, and compares what they read with the
    embedded store in tests/sources/prometheus/test_sources_agree.py.
    """
    first = serve("--targets", exporter, *FAST)
    url = prometheus({"foreshock-exporter": exporter, "foreshock": first.url.removeprefix("http://")})
    second = serve("--prometheus-url", url, *FAST, store=tmp_path / "second")

    def both(path: str, key: str, pick: Callable[[dict[str, Any]], object]) -> list[list[object]]:
        return [sorted(map(pick, names(hub.get(path), key)), key=repr) for hub in (first, second)]

    def send_and_compare() -> bool:
        send_call(first.otlp)
        one, two = both("/api/services", "services", lambda s: (s["service"], s["requests_per_second"] is not None))
        gpu_one, gpu_two = both("/api/gpus", "gpus", lambda g: (g["gpu"], g["utilization_ratio"] is not None))
        pair_one, pair_two = both(
            "/api/contention", "pairs", lambda p: (p["victim"], p["aggressor"], [g["gpu"] for g in p["gpus"]])
        )
        return bool(one == two and gpu_one == gpu_two and pair_one == pair_two and pair_one and ("llm", True) in one)

    eventually(send_and_compare, "both hubs show the same services, GPUs and pairs", 60)


def test_what_was_acknowledged_survives_kill_9(serve: Serve) -> None:
    """The SDK had its answer; the hub is killed at once; a new one on the same store has the trace."""
    hub = serve()
    traces = [send_call(hub.otlp) for _ in range(5)]
    hub.end(signal.SIGKILL)

    again = serve()

    assert [len(names(again.get(f"/api/traces/{trace}"), "spans")) for trace in traces] == [2] * 5


def test_it_stops_on_sigterm_with_0(serve: Serve) -> None:
    """A supervisor sees a clean end."""
    hub = serve()

    assert hub.end(signal.SIGTERM) == 0, hub.output
    assert "Traceback" not in hub.output


def test_a_second_hub_on_the_same_store_is_refused(serve: Serve, tmp_path: Path) -> None:
    """The store belongs to one process; the first one goes on."""
    first = serve()
    second = serve(wait=False)

    assert second.process.wait(20) == 1
    assert str(tmp_path / "store") in second.end_output()
    assert first.up()


def test_a_port_in_use_is_named(serve: Serve) -> None:
    """Exit code 1, the option and the remedy."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        hub = serve("--port", str(taken.getsockname()[1]), wait=False)
        assert hub.process.wait(20) == 1

    assert "--port: cannot listen: Address already in use; choose another port" in hub.end_output()


def test_a_broken_yaml_is_wrong_usage(serve: Serve, tmp_path: Path) -> None:
    """Exit code 2 and the file's name."""
    (tmp_path / "f.yml").write_text("port: [")
    hub = serve("--config", str(tmp_path / "f.yml"), wait=False)

    assert hub.process.wait(20) == 2
    assert f"{tmp_path}/f.yml: invalid YAML" in hub.end_output()


def test_a_target_that_is_no_exporter_costs_only_itself(
    serve: Serve, exporter: str, closed_address: str, html_page: str, eventually: Eventually
) -> None:
    """Of two, one is down and one is a website: each is named on the status, each reason is logged once."""
    hub = serve("--targets", f"{closed_address},{html_page},{exporter}", *FAST)

    def reported(bad: str) -> bool:
        scrapes = {s["instance"]: s for s in hub.get("/api/status").json()["hub"]["scrapes"]}
        return scrapes[bad]["up"] is False and scrapes[bad]["error"] != "" and scrapes[exporter]["up"] is True

    for bad in (closed_address, html_page):
        eventually(partial(reported, bad), f"{bad} is reported, the good target is up")
    eventually(lambda: len(names(hub.get("/api/gpus"), "gpus")) == 4, "four GPUs")
    for bad in (closed_address, html_page):
        reasons = [line.partition(bad)[2] for line in hub.lines if bad in line]
        assert reasons, hub.output
        assert len(set(reasons)) == len(reasons), hub.output


def test_a_prometheus_that_is_away_is_named(serve: Serve, closed_address: str) -> None:
    """The hub stays up, is not ready, and names the source."""
    hub = serve("--prometheus-url", f"http://{closed_address}", *FAST, wait=False)
    hub.wait_for_page()

    answer = hub.get("/readyz")

    assert answer.status_code == 503
    assert closed_address in json.dumps(hub.get("/api/status").json())
    assert hub.get("/healthz").status_code == 200


def test_a_hub_can_stand_at_a_past_time(serve: Serve, exporter: str, eventually: Eventually) -> None:
    """With --at it shows what was then, from the same store."""
    hub = serve("--targets", exporter, *FAST)
    eventually(lambda: len(names(hub.get("/api/gpus"), "gpus")) == 4, "four GPUs")
    then = hub.get("/api/gpus").json()["data_time"]
    hub.end()

    past = serve("--at", str(then), *FAST)

    assert past.get("/api/gpus").json()["time"] == then
    assert len(names(past.get("/api/gpus"), "gpus")) == 4
    assert httpx.post(past.otlp, headers={"content-type": "application/x-protobuf"}, trust_env=False).status_code == 200
