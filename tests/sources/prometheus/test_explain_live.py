"""`foreshock explain` on a live Prometheus answers as on a recording of it."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from tests.recording.platform import Value, raised, wave

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of

if TYPE_CHECKING:
    from tests.sources.prometheus.conftest import Server

SERVICES = ("front", "checkout", "payment", "redis")
STEP, LENGTH, FAULT = 15.0, 3000.0, 2400.0
"""Seconds between scrapes, of the whole data, and from its start to the fault."""


def incident(start: float, namespace: str = "shop") -> Iterator[SampleBatch]:
    """CPU and latency of four services; payment uses more CPU at the end, and is slow as its callers are."""
    times = {"cpu": {"payment": 3.0}, "latency_seconds": {"payment": 8.0, "checkout": 4.0, "front": 3.0}}
    metrics: dict[str, dict[str, Value]] = {
        metric: {
            service: raised(wave(level, seed=10 * i + j), FAULT, times[metric].get(service, 1.0))
            for j, service in enumerate(SERVICES)
        }
        for i, (metric, level) in enumerate((("cpu", 0.3), ("latency_seconds", 0.08)))
    }
    for number in range(round(LENGTH / STEP)):
        samples = [
            Sample(metric, labels_of({"service": service, "namespace": namespace}), value(service, number * STEP))
            for metric, rows in metrics.items()
            for service, value in rows.items()
        ]
        up = Sample("up", labels_of({"job": "shop", "instance": "a:1", "namespace": namespace}), 1.0)
        yield SampleBatch(start + number * STEP, "x", (*samples, up))


@pytest.fixture
def start(own_prometheus: Server) -> float:
    """Unix seconds at which the data of the Prometheus begins; it ends a quarter of an hour ago."""
    begin = float(int(time.time()) - LENGTH - 900)
    own_prometheus.write(incident(begin))
    return begin


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    """The JSON answer of `foreshock explain`."""
    capsys.readouterr()
    assert main(["explain", *words, "-o", "json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("service", ["front", "checkout", "redis", None])
def test_a_prometheus_gives_the_answer_of_its_recording(
    own_prometheus: Server, start: float, tmp_path: Path, capsys: pytest.CaptureFixture[str], service: str | None
) -> None:
    """Byte for byte; without a map of calls, also the answer about a healthy service is the one at fault."""
    words = [*([service] if service else []), "--at", str(start + FAULT + 60)]
    live = explained(capsys, *words, "--from", own_prometheus.url)
    until = str(start + LENGTH)
    where = ("--from", own_prometheus.url, "--output-dir", str(tmp_path / "made"))
    assert main(["recording", "create", *where, "--start", str(start - 60), "--end", until]) == 0
    assert live == explained(capsys, *words, "--from", str(tmp_path / "made"))
    assert [one["service"] for one in live["candidates"][:1]] == ["payment"]


@contextmanager
def proxied(target: str, prefix: str, accepted: Sequence[str]) -> Iterator[str]:
    """A proxy that demands one of these Authorization headers and serves `target` below `prefix`."""

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def do_GET(self) -> None:
            """Forward a request."""
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Authorization") not in accepted:
                status, content = 401, b"no"
            elif not self.path.startswith(prefix):
                status, content = 404, b"404 page not found"
            else:
                kind = self.headers.get("Content-Type") or "text/plain"
                url = target + self.path.removeprefix(prefix)
                answer = httpx.request(self.command, url, content=body, headers={"Content-Type": kind})
                status, content = answer.status_code, answer.content
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815 - the name that http.server calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_credentials_and_a_path_prefix_work_as_with_a_hub(
    own_prometheus: Server, start: float, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Basic or bearer, from a file; without it, or with them in the URL, the remedy is named."""
    files = []
    basic, bearer = "basic_auth: {username: ada, password: secret}", "authorization: {credentials: t0ken}"
    for name, content in (("basic", basic), ("token", bearer)):
        (tmp_path / name).write_text(content)
        files.append(str(tmp_path / name))
    at = ("--at", str(start + FAULT + 60))
    known = [f"Basic {base64.b64encode(b'ada:secret').decode()}", "Bearer t0ken"]
    with proxied(own_prometheus.url, "/prometheus", known) as url:
        answers = [
            explained(capsys, "front", *at, "--from", f"{url}/prometheus{end}", "--http-config", file)
            for file, end in zip(files, ("", "/"), strict=True)
        ]
        assert answers[0] == answers[1]
        assert answers[0]["candidates"]
        for code, words, message in (
            (1, (f"{url}/prometheus",), "Pass --http-config FILE"),
            (1, (url, "--http-config", files[0]), "Check that --from points to a foreshock hub or a Prometheus."),
            (
                2,
                (url.replace("//", "//ada:secret@"),),
                "contains credentials, which the process list would expose. Use --http-c",
            ),
        ):
            assert main(["explain", "front", *at, "--from", *words]) == code
            error = capsys.readouterr().err
            assert message in error
            assert "secret" not in error


def test_matchers_restrict_what_is_read(
    own_prometheus: Server, start: float, capsys: pytest.CaptureFixture[str]
) -> None:
    """Series of another namespace take no part."""
    own_prometheus.write(incident(start + 0.001, "other"))
    match = ("--match", '{namespace="shop"}')
    answer = explained(capsys, "front", "--at", str(start + FAULT + 60), "--from", own_prometheus.url, *match)
    assert answer["candidates"][0]["service"] == "payment"
    assert main(["explain", "front", "--from", own_prometheus.url, "--cluster", "eu"]) == 2
    assert "Select the cluster with --match." in capsys.readouterr().err
    assert main(["explain", "front", "--from", own_prometheus.url, "--match", "namespace=shop"]) == 1
    assert "parse error" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("frnt",), "no service 'frnt'. Did you mean front"),
        (("front", "--at", "now-40d"), "no samples in this time range"),
    ],
)
def test_what_a_prometheus_cannot_answer_is_named(
    own_prometheus: Server, start: float, capsys: pytest.CaptureFixture[str], words: Sequence[str], message: str
) -> None:
    """With the URL, not with the folder behind it."""
    at = () if "--at" in words else ("--at", str(start + FAULT + 60))
    assert main(["explain", *words, *at, "--from", own_prometheus.url]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert own_prometheus.url in error
    assert "foreshock-explain" not in error
