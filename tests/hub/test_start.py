"""The start of a hub: receivers answer before the libraries of the page are imported; commands import what they need.

CPU seconds of the start are measured by `make bench` (scripts/bench_start.py), since a test cannot rely on them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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
