"""Receivers, and notifiers of hubs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.notify.receivers import Mailbox, Webhook, mail_server, webhook

from foreshock_dashboard.notify.alertmanager import Alertmanager
from foreshock_dashboard.notify.notifier import Hooks, Notifier
from foreshock_dashboard.notify.timing import Timing
from foreshock_dashboard.store.outbox import Outbox
from foreshock_dashboard.store.outbox_file import OutboxFile

BASE = "https://hub.example.com"


@pytest.fixture
def hook() -> Iterator[Webhook]:
    """A webhook."""
    with webhook() as served:
        yield served


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """A mail server."""
    with mail_server() as served:
        yield served


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Notifier]]:
    """Start the notifier of a hub with a data folder, lines of channels, and URLs of Alertmanagers."""
    with ExitStack() as opened:

        def begin(name: str = "hub", *lines: str, urls: tuple[str, ...] = (), **hooks: Any) -> Notifier:  # noqa: ANN401
            folder = tmp_path / name
            folder.mkdir(exist_ok=True)
            file = folder / "channels"
            file.write_text("\n".join(lines))
            timing = Timing(time.time, time.monotonic, random.random, time.time)
            peers = [Alertmanager(url) for url in urls]
            made = Notifier(Outbox(OutboxFile(folder)), file, peers, timing, Hooks(BASE, **hooks), early_alerts=True)
            opened.callback(made.close)
            made.start()
            return made

        yield begin
