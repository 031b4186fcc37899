"""The notifier of the settings, and what it takes from the hub."""

from __future__ import annotations

import logging
import math
import random
import time
from collections.abc import Callable, Mapping, Set
from contextlib import ExitStack, closing
from functools import partial

from foreshock_dashboard.common.addresses import is_loopback
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.log_on_change import LogOnChange
from foreshock_dashboard.hub.factories import http_config
from foreshock_dashboard.hub.intake import naming
from foreshock_dashboard.model.capacity.forecast import CapacityForecast
from foreshock_dashboard.model.hub.view import HubView
from foreshock_dashboard.model.incident import Incident
from foreshock_dashboard.model.journal import EntryLog
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.notify.alertmanager import Alertmanager
from foreshock_dashboard.notify.due import Mute
from foreshock_dashboard.notify.message import body_of
from foreshock_dashboard.notify.notifier import Hooks, Notifier
from foreshock_dashboard.notify.slow_burn_groups import PREFIX, group_body
from foreshock_dashboard.notify.timing import Timing
from foreshock_dashboard.response.fold import Responses
from foreshock_dashboard.response.reader import ResponseReader
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.shard import Shard
from foreshock_dashboard.store.outbox import Messages, Outbox, OutboxMessage
from foreshock_dashboard.web.documents.picture import incident_picture

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
        log.warning("links in notifications point to %s; set --external-url", hooks.base)
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


def hooks_of(hub: HubView, settings: Settings, url: str, leads: Callable[[], bool]) -> Hooks:
    """What the notifier takes from a hub with a page at this URL. leads: as of `Hooks`."""
    silences = _Silences(hub.journal)
    return Hooks(
        base=settings.external_url or url.rstrip("/"),
        owner=lambda service: hub.ownership(service).owner,
        muted=silences.muted,
        picture=partial(_picture, hub),
        record=partial(_record, hub.journal),
        forecast=partial(_current_capacity, hub),
        services_by_host=partial(_services_by_host, hub),
        silences_capacity=silences.cover_capacity,
        working_hours=settings.working_hours,
        leads=leads,
    )


class _Silences:
    """The silences in a journal. One that cannot be read leaves those read before in effect, and stops no message."""

    def __init__(self, journal: EntryLog) -> None:
        self._reader, self._log = ResponseReader(journal), LogOnChange(log, logging.ERROR)

    def muted(self, incident: Incident, now: float) -> Mute | None:
        """The silence or maintenance window that covers an incident; None without one."""
        silence = self._known().silence_of(incident, now)
        return Mute(silence.end, silence.stamp.by, silence.comment) if silence else None

    def cover_capacity(self, service: Service | None, time: float) -> bool:
        """Whether a silence covers the capacity of a service, or of a pool (None), at a time (Unix seconds)."""
        return self._known().silences_capacity(service, time)

    def _known(self) -> Responses:
        try:
            responses, problem = self._reader.current(), ""
        except SourceError as error:
            responses = self._reader.known
            problem = f"silences cannot be read; those read before stay in effect: {error}"
        self._log.update(problem)
        return responses


def _picture(hub: HubView, incident_id: str) -> bytes | None:
    """PNG of an incident as of now; None without one."""
    world = hub.snapshot.world
    incident = next((item for item in hub.snapshot.incidents if item.id == incident_id), None)
    try:
        return incident_picture(world, incident) if world and incident else None
    except Exception:  # a message without a picture is better than none
        log.exception("the picture of incident %s could not be drawn", incident_id)
        return None


def _record(journal: EntryLog, now: float, data: Json) -> None:
    """Write what was sent into the journal, for the timeline of the incident."""
    try:
        journal.append("notification", now, "hub", data)
    except SourceError as error:
        log.warning("a notification is missing in the journal: %s", error)


def _current_capacity(hub: HubView) -> CapacityForecast | None:
    """The capacity forecast; None where it is not current."""
    forecast = hub.capacity
    return None if forecast.error or math.isnan(forecast.computed_at) else forecast


def _services_by_host(hub: HubView) -> Mapping[str, Set[Service]]:
    """Services on the GPUs of each host."""
    services: dict[str, set[Service]] = {}
    for gpu, service in hub.snapshot.world.tenants if hub.snapshot.world else ():
        services.setdefault(gpu.host, set()).add(service)
    return services
