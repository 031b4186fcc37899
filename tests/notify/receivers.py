"""Receivers of notifications on loopback: a webhook, a mail server, and real Alertmanagers that form a cluster."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from bench.support.process import free_ports
from tests.ports import free_port

ALERTMANAGER = "prometheus-alertmanager"


class Webhook:
    """A webhook. posted: the JSON of each request. status, location: of the answers. before: runs before each."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.posted: list[Any] = []
        self.status, self.location = 200, ""
        self.before: Callable[[], None] = lambda: None


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a webhook."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            hook.posted.append(json.loads(body))
            hook.before()
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.send_header("Location", hook.location)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hook = Webhook(server.server_address[1])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Mailbox:
    """A mail server that keeps what it accepts."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.port = 0

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        """Accept a mail."""
        mail = message_from_bytes(envelope.content or b"", policy=policy.default)  # type: ignore[arg-type]
        assert isinstance(mail, EmailMessage)
        self.mails.append(mail)
        return "250 OK"


@contextmanager
def mail_server() -> Iterator[Mailbox]:
    """Serve SMTP."""
    box = Mailbox()
    box.port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    try:
        yield box
    finally:
        controller.stop()


@contextmanager
def alertmanagers(folder: Path, hook: Webhook, peers: int) -> Iterator[list[str]]:
    """URLs of Alertmanagers that form a cluster, notify a webhook at once, and are ready."""
    if shutil.which(ALERTMANAGER) is None:
        pytest.skip(f"{ALERTMANAGER} is not installed; `make setup-tests` installs it")
    config = {
        "route": {"receiver": "hook", "group_by": ["incident"], "group_wait": "0s", "group_interval": "1s"},
        "receivers": [{"name": "hook", "webhook_configs": [{"url": f"http://{hook.address}/"}]}],
    }
    (folder / "alertmanager.yml").write_text(yaml.safe_dump(config))
    ports = free_ports(2 * peers)
    web, cluster = ports[:peers], ports[peers:]
    with ExitStack() as opened:
        for number, (port, gossip) in enumerate(zip(web, cluster, strict=True)):
            command = [
                ALERTMANAGER,
                f"--config.file={folder / 'alertmanager.yml'}",
                f"--storage.path={folder / str(number)}",
                f"--web.listen-address=127.0.0.1:{port}",
                f"--cluster.listen-address=127.0.0.1:{gossip}",
                "--cluster.peer-timeout=1s",
                "--cluster.gossip-interval=50ms",
                "--cluster.settle-timeout=1s",
                *(f"--cluster.peer=127.0.0.1:{other}" for other in cluster if other != gossip),
            ]
            opened.enter_context(_process(command, folder / f"{number}.log"))
        yield [f"http://127.0.0.1:{port}" for port in web]


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[None]:
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(30)


def clustered(url: str, peers: int) -> bool:
    """Whether an Alertmanager answers and sees all peers."""
    try:
        cluster = httpx.get(f"{url}/api/v2/status").json()["cluster"]
    except httpx.TransportError:
        return False
    return cluster["status"] == "ready" and len(cluster["peers"]) == peers
