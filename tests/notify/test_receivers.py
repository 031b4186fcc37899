"""Channels against real receivers: a webhook, a mail server, dead ones, and a hub that is killed while it sends."""

from __future__ import annotations

import base64
import contextlib
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.conftest import Eventually
from tests.notify.incidents import incident, resolved, warning
from tests.notify.receivers import Mailbox, Webhook

from foreshock_dashboard.notify.channel_state import ChannelStats
from foreshock_dashboard.notify.notifier import Notifier

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n picture"


def test_a_webhook_gets_the_message_with_its_picture_from_page_to_end(
    hook: Webhook, start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """Severity, headline, cause, action, command, and links."""
    hub = start("hub", f"json://{hook.address}/hook", picture=lambda _: PNG, owner=lambda _: "team-chat")
    hub.observe((warning(),), complete=True)
    hub.observe((incident(),), complete=True)
    eventually(lambda: len(hook.posted) == 1, "the page")
    hub.observe((resolved(),), complete=True)
    eventually(lambda: len(hook.posted) == 2, "the end")
    page, end = hook.posted
    assert (page["type"], page["title"]) == (
        "failure",
        "[critical] serving/llm-chat is degraded: p95 14.6 s (SLO 17.3 s)",
    )
    cause, action, *rest = page["message"].splitlines()
    assert cause.startswith("Suspected cause: noisy neighbor ml/batch-embed on host-1/gpu-0 (high confidence).")
    assert action.startswith("Action: Move ml/batch-embed off host-1/gpu-0. Expected: serving/llm-chat p95 14.6 s → ")
    assert rest == [
        "Command: kubectl cordon host-1 && kubectl -n ml rollout restart deployment/batch-embed",
        "Owner: team-chat",
        "Incident: https://hub.example.com/cascade?incident=20270115T080000Z-serving.llm-chat",
        "Runbook: https://hub.example.com/runbooks/ForeshockIncident",
    ]
    (attachment,) = page["attachments"]
    assert (attachment["filename"], attachment["mimetype"]) == ("incident.png", "image/png")
    assert base64.b64decode(attachment["base64"]) == PNG
    assert (end["type"], end["title"]) == ("success", "[resolved] serving/llm-chat has recovered from GPU contention")
    assert end["message"].startswith("Open for 30 s, from 07:59:30 to 08:00:00 UTC. Suspected cause: noisy neighbor")


def test_a_mail_server_gets_the_message_with_its_picture(
    mailbox: Mailbox, start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """As a dedicated mail with an attachment."""
    url = f"mailto://127.0.0.1:{mailbox.port}?from=hub@example.com&to=oncall@example.com&mode=insecure"
    hub = start("hub", url, picture=lambda _: PNG)
    hub.observe((incident(),), complete=True)
    eventually(lambda: len(mailbox.mails) == 1, "the mail")
    (mail,) = mailbox.mails
    assert mail["Subject"] == "[critical] serving/llm-chat is degraded: p95 14.6 s (SLO 17.3 s)"
    assert mail["To"] == "oncall@example.com"
    (attachment,) = mail.iter_attachments()
    assert (attachment.get_filename(), attachment.get_content()) == ("incident.png", PNG)
    body = mail.get_body(("plain", "html"))
    assert body is not None
    assert "Move ml/batch-embed off host-1/gpu-0." in body.get_content()


@pytest.fixture
def hanging() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def dying() -> Iterator[str]:
    """The address of a server that closes each connection amid its answer."""

    class Dying(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(1 << 16)
            self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Dying) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}).start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_dead_receivers_delay_neither_an_evaluation_nor_the_others(
    hanging: str, dying: str, hook: Webhook, start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """Alertmanagers and channels that hang, die amid an answer, or refuse; one channel answers with an error."""
    urls = (f"http://{hanging}", f"http://{dying}", "http://127.0.0.1:9")
    failing = "json://127.0.0.1:9/secret-path name=refused"
    hub = start("hub", f"json://{hanging} name=hanging", failing, f"json://{hook.address} name=alive", urls=urls)
    begin = time.perf_counter()
    hub.observe((incident(),), complete=True)
    assert time.perf_counter() - begin < 0.1
    eventually(lambda: len(hook.posted) == 1, "the message on the channel that works")
    eventually(lambda: all(hub.stats()[row].error for row in (1, 2, 4)), "the errors of those that die or refuse")
    eventually(lambda: [item.waiting for item in hub.stats()[3:]] == [1, 1, 0], "the outcome of the one that works")
    stats = {item.name: item for item in hub.stats()}
    assert stats["alive"].outcomes == {"sent": 1, "failed": 0, "dropped": 0}
    assert "secret-path" not in stats["refused"].error
    hook.status = 500
    hub.observe((incident(), incident(id="i2")), complete=True)
    eventually(lambda: stats_of(hub, "alive").outcomes["failed"] == 1, "the refused message")
    assert stats_of(hub, "alive").waiting == 1


def test_a_receiver_cannot_redirect_a_message(
    hook: Webhook, start: Callable[..., Notifier], eventually: Eventually
) -> None:
    """Its token would go along."""
    hook.status, hook.location = 307, f"http://{hook.address}/elsewhere"
    hub = start("hub", f"json://user:secret@{hook.address}/")
    hub.observe((incident(),), complete=True)
    eventually(lambda: stats_of(hub, "json").outcomes["failed"] == 1, "the failed attempt")
    assert len(hook.posted) == 1


def stats_of(hub: Notifier, name: str) -> ChannelStats:
    """Statistics of a channel."""
    return next(item for item in hub.stats() if item.name == name)


def test_channels_are_read_again_when_the_file_changes(
    hook: Webhook, start: Callable[..., Notifier], tmp_path: Path, eventually: Eventually
) -> None:
    """A bad line leaves the previous channels in use; nothing is sent twice."""
    line = f"json://{hook.address}/a"
    hub = start("hub", line)
    hub.observe((incident(),), complete=True)
    eventually(lambda: len(hook.posted) == 1, "the page")
    file = tmp_path / "hub" / "channels"
    file.write_text(f"{line}\nnonsense\n")
    hub.plan()
    assert [item.name for item in hub.stats()] == ["json"]
    file.write_text(f"# first\n\n{line}\njson://{hook.address}/b name=second\n")
    hub.plan()
    eventually(lambda: len(hook.posted) == 2, "the open incident on the new channel")
    eventually(
        lambda: [(item.name, item.outcomes["sent"]) for item in hub.stats()] == [("json", 1), ("second", 1)],
        "the outcome of both",
    )


@contextmanager
def process(folder: Path, names: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A notifier as a process."""
    command = [sys.executable, "-m", "tests.notify.process", str(folder), *names]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as running:
        try:
            yield running
        finally:
            running.kill()
            running.wait(30)


@pytest.mark.soak
def test_hubs_that_are_killed_at_any_moment_lose_no_message_and_send_none_more_often_than_they_were_killed(
    hook: Webhook, tmp_path: Path
) -> None:
    """Each new incident is sent, whenever its process dies; each death repeats one message at most."""
    rounds = 40
    (tmp_path / "channels").write_text(f"json://{hook.address}/\n")
    moments = random.Random(1)
    names = [f"i{number:02}" for number in range(rounds)]
    for number in range(rounds):
        with process(tmp_path, names[: number + 1]) as running, contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(moments.uniform(0.3, 2.5))
    with process(tmp_path, [*names, "last"]) as running:
        assert running.stdout is not None
        while running.stdout.readline() != "last\n":
            assert running.poll() is None
    sent = Counter(post["message"].partition("incident=")[2].partition("\n")[0] for post in hook.posted)
    assert set(sent) == {*names, "last"}
    assert sent.total() - len(sent) <= rounds


def test_a_hub_that_is_killed_between_sending_and_noting_it_sends_at_most_twice_and_loses_nothing(
    hook: Webhook, tmp_path: Path
) -> None:
    """The second process finds the message in the outbox alone; the third knows that it was sent."""
    (tmp_path / "channels").write_text(f"json://{hook.address}/\n")
    with process(tmp_path, ["i1"]) as running:
        hook.before = running.kill
        assert running.wait(60) == -signal.SIGKILL
    assert len(hook.posted) == 1
    hook.before = lambda: None
    with process(tmp_path, []) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "i1\n"
    assert len(hook.posted) == 2
    with process(tmp_path, ["i1", "i2"]) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "i2\n"
    incidents = [post["message"].partition("incident=")[2].partition("\n")[0] for post in hook.posted]
    assert incidents == ["i1", "i1", "i2"]
