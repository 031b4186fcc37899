"""`foreshock trace show` of a hub: an exporter's occupancy, a service's span, and the wait for its GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import SpanKind

Serve = Any
Eventually = Callable[..., None]
BIN = Path(sys.executable).parent
FAST = ("--scrape-interval", "1s", "--evaluation-interval", "1s", "--rate-window", "9.5s")
SCRIPT = """\
{"foreshock_device_script": 1, "host": "host-2", "host_id": "id-of-host-2"}
{"at": 0, "gpu": 0, "device": {}}
{"at": 0, "gpu": 0, "process": {"pid": 7, "service": "serving/llm-chat", "memory_bytes": 1e9, "sm": 0.25}}
{"at": 0, "gpu": 0, "process": {"pid": 8, "service": "ml/train-llm", "memory_bytes": 1e9, "sm": 0.75}}
{"at": 4, "gpu": 0, "process": {"pid": 8, "ends": true}}
"""


def trace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command."""
    command = [str(BIN / "foreshock"), "trace", "show", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(name="pushing")
def _pushing(tmp_path: Path, free_address: str) -> Iterator[Callable[[str], str]]:
    """Start an exporter of the script that pushes to an endpoint; gives where it can be scraped."""
    started: list[subprocess.Popen[bytes]] = []

    def start(endpoint: str) -> str:
        script = tmp_path / "shared.jsonl"
        script.write_text(SCRIPT)
        command = [str(BIN / "foreshock-exporter"), f"--mock={script}", f"--web.listen-address={free_address}"]
        started.append(subprocess.Popen([*command, f"--otlp.endpoint={endpoint}"], stderr=subprocess.DEVNULL))
        return free_address

    yield start
    for process in started:
        process.terminate()
        process.wait(20)


def send(endpoint: str, start_ns: int, end_ns: int) -> str:
    """A request of llm-chat's process, through the real SDK; gives its trace id."""
    said: dict[str, str | int] = {"service.name": "llm-chat", "service.namespace": "serving"}
    where: dict[str, str | int] = {"host.id": "id-of-host-2", "process.pid": 7}
    provider = TracerProvider(resource=Resource({**said, **where}), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))
    span = provider.get_tracer("test").start_span("POST /generate", kind=SpanKind.SERVER, start_time=start_ns)
    span.end(end_ns)
    provider.shutdown()
    return f"{span.get_span_context().trace_id:032x}"


def test_a_trace_of_a_running_hub_names_who_held_its_gpu(
    serve: Serve, pushing: Callable[[str], str], free_address: str, eventually: Eventually
) -> None:
    """The exporter pushes what ran, the service its span; the command says what that means."""
    hub = serve("--targets", free_address, *FAST)
    pushing(hub.otlp.removesuffix("/v1/traces"))
    eventually(lambda: len(hub.get("/api/gpus").json()["gpus"]) == 1, "the GPU is known")
    found: list[dict[str, Any]] = []

    def occupied() -> bool:
        found[:] = hub.get("/api/traces?operation=gpu.occupancy&order=slowest").json()["traces"]
        return bool(found) and found[0]["duration_seconds"] > 0.9

    eventually(occupied, "occupancy has arrived")
    first = round(found[0]["start"] * 1e9)
    made = send(hub.otlp, first + 10**8, first + 9 * 10**8)

    result = trace(made, "--from", hub.url)
    assert (result.returncode, result.stderr) == (0, "")
    assert "on host-2/gpu-0 while ml/train-llm was running." in " ".join(result.stdout.split())
    assert max(map(len, result.stdout.splitlines())) <= 100

    body = json.loads(trace(made, "--from", hub.url, "-o", "json").stdout)
    (span,) = body["spans"]
    assert (span["gpu"]["matched_by"], span["gpu"]["quality"]) == ("process", "measured")
    assert span["gpu"]["waited_seconds"] == pytest.approx(0.75 * 0.8, abs=0.05)
    assert span["gpu"]["own_seconds"] == pytest.approx(0.25 * 0.8, abs=0.05)
    listed = hub.get("/api/traces?order=gpu_wait&min_gpu_wait=400ms").json()
    assert [row["trace_id"] for row in listed["traces"]] == [made]

    unknown = trace("abcdef", "--from", hub.url)
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert f"unknown trace {'abcdef':0>32}: past the retention" in unknown.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("no-id",), 2, "trace id 'no-id': not a hexadecimal number of up to 32 digits"),
        (("1" * 33,), 2, "not a hexadecimal number of up to 32 digits"),
        (
            ("1", "--from", "localhost:8050"),
            2,
            "--from: 'localhost:8050' is neither a folder nor a valid URL; use a URL such as http://",
        ),
        ((), 2, "Missing argument 'TRACE_ID'"),
    ],
)
def test_wrong_usage_exits_2_and_says_why(arguments: tuple[str, ...], code: int, words: str) -> None:
    """No hub is called."""
    result = trace(*arguments)
    assert (result.returncode, result.stdout) == (code, "")
    assert words in result.stderr


def test_an_address_where_no_hub_is_exits_1_and_says_what_to_do(closed_address: str, html_page: str) -> None:
    """No server listens there, or another one."""
    silent = trace("1", "--from", f"http://{closed_address}")
    assert silent.returncode == 1
    assert "no response (Connection refused)" in silent.stderr
    assert "pass --from URL|DIR" in silent.stderr

    other = trace("1", "--from", f"http://{html_page}")
    assert other.returncode == 1
    assert "unexpected response (HTTP 200). Check that --from points to a foreshock hub." in other.stderr
