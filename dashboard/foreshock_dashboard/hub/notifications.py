"""The notifier of the settings."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import ExitStack, closing

from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.factories import http_config
from foreshock_dashboard.hub.intake import naming
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.notify.alertmanager import Alertmanager
from foreshock_dashboard.notify.message import body_of
from foreshock_dashboard.notify.notifier import Hooks, Notifier
from foreshock_dashboard.notify.slow_burn_groups import PREFIX, group_body
from foreshock_dashboard.notify.timing import Timing
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.shard import Shard
from foreshock_dashboard.store.outbox import Messages, Outbox, OutboxMessage

log = logging.getLogger(__name__)


def notifier(settings: Settings, clock: Clock, messages: Callable[[], Messages], hooks: Hooks) -> Notifier | None:
    """The notifier with an outbox of these messages; None without a receiver, and for a hub at a past time.

    Raises:
        HubError: a file or URL of an option cannot be used.
        StoreError: the outbox cannot be opened.
    """
    if settings.at is not None or not (settings.alertmanager_url or settings.notify_file):
        return None
    if not settings.external_url and not is_loopback(settings.host):
        log.warning("links in notifications lead to %s; set --external-url", hooks.base)
    with ExitStack() as opened:
        peers = [opened.enter_context(closing(item)) for item in alertmanagers(settings)]
        outbox = opened.enter_context(closing(Outbox(messages())))
        timing = Timing(clock.now, time.monotonic, random.random, time.time, clock.speed)
        with naming("--notify-file"):
            early = settings.alertmanager_early_warnings
            made = Notifier(outbox, settings.notify_file, peers, timing, hooks, early_alerts=early)
        opened.pop_all()  # the notifier closes them
        return made


def alertmanagers(settings: Settings) -> list[Alertmanager]:
    """Clients of the configured Alertmanagers. Raises HubError."""
    with naming("--alertmanager-config"), naming("--alertmanager-url", ValueError):
        config = http_config(settings.alertmanager_config)
        return [Alertmanager(url, config=config) for url in settings.alertmanager_url]


def is_message_of(shard: Shard, message: OutboxMessage) -> bool:
    """Whether a message is about a cluster of a shard; not if it cannot be read."""
    try:
        if not message.subject.startswith(PREFIX):
            return shard.has(split_cluster(body_of(message).service)[0])
        members = group_body(message).members
    except ValueError:
        return False
    return any(shard.has(item.service.cluster if item.service else split_cluster(item.name)[0]) for item in members)
