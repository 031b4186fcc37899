"""The start of a hub: receivers answer before the libraries of the page are imported; commands import what they need.

CPU seconds of the start are measured by `make bench` (bench/hub/start.py), since a test cannot rely on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from tests.hub.sending import PROTOBUF, request

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.intake import Intake
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.store import Store

PAGE_LIBRARIES = ("dash", "plotly", "fastapi", "pydantic", "httpx", "foreshock_dashboard.web")
"""Imported by a hub only once its receivers answer."""
HUB_LIBRARIES = ("duckdb", "sqlite3", "grpc", "google.protobuf", "dash", "plotly", "fastapi", "uvicorn")

WATCHED_SERVE = """
import json, os, sys, urllib.request
libraries, http, grpc_address, store = json.loads(sys.argv[1])

def first_answers():
    import grpc
    request = urllib.request.Request(f"http://{http}/v1/traces", b"", {"Content-Type": "application/x-protobuf"})
    status = urllib.request.urlopen(request, timeout=30).status
    channel = grpc.insecure_channel(grpc_address)
    export = channel.unary_unary("/opentelemetry.proto.collector.trace.v1.TraceService/Export")
    return {"http": status, "grpc": export(b"", timeout=30).decode()}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in libraries:
            print(json.dumps({"imported": name, **first_answers()}), flush=True)
            os._exit(0)

sys.meta_path.insert(0, Watch())
from foreshock_dashboard.cli.main import main
main(["serve", "--port", "0", "--otlp-http-port", http.split(":")[1], "--otlp-grpc-port", grpc_address.split(":")[1],
      "--store-path", store])
"""
"""Ends at the first import of a library of the page, after a request to each receiver."""

WATCHED_COMMAND = """
import contextlib, io, json, sys
words, libraries = json.loads(sys.argv[1])
from foreshock_dashboard.cli.main import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    main(words)
print(json.dumps([name for name in libraries if name in sys.modules]))
"""


def watched(script: str, *values: object) -> object:
    """The JSON that a script prints in a separate process."""
    run = subprocess.run(
        [sys.executable, "-c", script, json.dumps(values)], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_receivers_store_spans_before_a_library_of_the_page_is_imported(
    tmp_path: Path, free_addresses: Callable[[int], list[str]]
) -> None:
    """Most of the start is the import of the page and the analysis; senders do not wait for it."""
    http, grpc = free_addresses(2)
    seen = watched(WATCHED_SERVE, PAGE_LIBRARIES, http, grpc, str(tmp_path / "store"))
    assert isinstance(seen, dict)
    assert seen.pop("imported") in PAGE_LIBRARIES
    assert seen == {"http": 200, "grpc": ""}


def test_senders_retry_while_the_store_is_opened(
    tmp_path: Path, free_addresses: Callable[[int], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its WAL may have much to replay; the receivers answer 503 with `Retry-After` meanwhile, then 200."""
    (http,) = free_addresses(1)
    body, headers = request(1).SerializeToString(), {"Content-Type": PROTOBUF}
    opening, open_store = [], Store.open

    def post() -> httpx.Response:
        return httpx.post(f"http://{http}/v1/traces", content=body, headers=headers, trust_env=False)

    def watched_open(path: Path, **options: Any) -> Store:  # noqa: ANN401 - those of Store.open
        opening.append(post())
        return open_store(path, **options)

    monkeypatch.setattr(Store, "open", watched_open)
    settings = Settings(store_path=tmp_path / "store", otlp_grpc_port=0, otlp_http_port=int(http.split(":")[1]))
    with closing(Intake(settings, Clock())) as intake:
        (answer,) = opening
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert "the store is being opened" in RpcStatus.FromString(answer.content).message
        assert post().status_code == 200
        assert intake.store.stats().spans == 1


@pytest.mark.parametrize(
    ("command", "unneeded"),
    [
        *((words, (*HUB_LIBRARIES, "numpy", "httpx")) for words in ("--help", "--version", "completion bash")),
        *((f"{words} --help", (*HUB_LIBRARIES, "numpy", "httpx")) for words in ("serve", "demo")),
        *((words, (*HUB_LIBRARIES, "httpx")) for words in ("generate rules --help", "dev scenarios")),
        *(
            (f"{words} --from http://127.0.0.1:9", HUB_LIBRARIES)
            for words in ("status", "get services", "get incidents", "incident list", "incident show a", "trace show 1")
        ),
    ],
)
def test_a_command_imports_none_of_the_libraries_that_it_does_not_need(command: str, unneeded: list[str]) -> None:
    """Help and completion come at once, and a command that asks a hub does not load the hub."""
    assert watched(WATCHED_COMMAND, command.split(), unneeded) == []
