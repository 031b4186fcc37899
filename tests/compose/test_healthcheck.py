"""The health check of the images, over HTTP and TLS."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import trustme


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (401, True), (403, False), (503, False)])
@pytest.mark.parametrize("source", ["argument", "environment"])
def test_the_check_finds_whether_a_server_is_ready(
    tls: bool, status: int, healthy: bool, source: str, root: Path
) -> None:
    """With TLS, for a certificate of any name, and with a password, which the check does not have."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/readyz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as opened:
        server = opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            trustme.CA().issue_cert("gpu-1.example").configure_cert(context)
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # plain HTTP for TLS
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        opened.callback(thread.join)
        opened.callback(server.shutdown)
        url = f"http://127.0.0.1:{server.server_address[1]}/readyz"
        command = [sys.executable, "-I", str(root / "compose/healthcheck.py")]
        argument, environ = (
            (url, {}) if source == "argument" else ("http://127.0.0.1:1/", {"FORESHOCK_HEALTH_URL": url})
        )
        done = subprocess.run([*command, argument], env=environ, capture_output=True, text=True, check=False)
    assert (done.returncode == 0, done.stderr) == (healthy, "")
