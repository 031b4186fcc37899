"""A model server whose metrics are scraped is one service with the spans that it sends: all are real processes."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from tests.hub.process import HubProcess
from tests.ports import free_port

GATEWAY = Path(__file__).parents[1] / "ingest" / "real" / "real_service.py"
MODEL_SERVER = Path(__file__).with_name("model_server.py")


@pytest.fixture(name="start")
def _start() -> Iterator[Callable[..., int]]:
    """Starts a program that prints its port first; returns the port."""
    with ExitStack() as started:

        def start(program: Path, *options: str) -> int:
            command = [sys.executable, str(program), *options]
            process = started.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            started.callback(process.terminate)
            assert process.stdout is not None
            return int(process.stdout.readline())

        yield start


@pytest.mark.soak
def test_a_scraped_model_server_is_one_service_with_its_spans(
    tmp_path: Path, start: Callable[..., int], eventually: Callable[..., None]
) -> None:
    """Neither its metrics nor its spans say where the other are; the caller's spans name the address.

    A second server, without a caller, is listed as unjoined.
    """
    port = free_port()
    otlp = f"http://127.0.0.1:{port}/v1/traces"
    server, idle = (start(MODEL_SERVER, "--otlp", otlp, "--seconds", "0.05") for _ in range(2))
    target = f"{socket.gethostname()}:{server}"  # a loopback address would be another one on each host
    downstream = f"http://{target}"
    gateway = start(GATEWAY, "--name", "gateway", "--otlp", otlp, "--downstream", downstream, "--seconds", "0")
    flags = ("--targets", f"{target},127.0.0.1:{idle}", "--scrape-interval", "5s")
    hub = HubProcess.serving(tmp_path, "--otlp-http-port", str(port), *flags, "--evaluation-interval", "5s")
    try:
        hub.wait_for_page()

        def joined() -> bool:
            for work in range(5):
                httpx.get(f"http://127.0.0.1:{gateway}/job/{work}", params={"fail": 0}, trust_env=False)
            names = {row["service"] for row in hub.get("/api/services").json()["services"]}
            return names == {"bed/model", "bed-7b", "shop/gateway"}

        eventually(joined, "one service of spans and metrics", 60)
        page = hub.get("/api/pages/services/bed/model").json()
        (unjoined,) = hub.get("/api/status").json()["unjoined"]
        remedy = hub.get("/api/pages/status").json()["unjoined"][0]["remedy"]
    finally:
        hub.end()
    assert page["inference"]["replicas"][0]["instance"] == target
    assert (unjoined["instance"], unjoined["service"]) == (f"127.0.0.1:{idle}", "bed-7b")
    assert f"--targets SERVICE=127.0.0.1:{idle}" in remedy
