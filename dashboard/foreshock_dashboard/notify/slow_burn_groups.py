"""Which slow burns share a message, and what the outbox keeps of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from functools import lru_cache

from foreshock_dashboard.model.capacity.slow_burn import SlowBurn, SlowBurnKey, SlowBurnKind
from foreshock_dashboard.model.service import Service, qualified, split_cluster
from foreshock_dashboard.notify.message import MessageBody
from foreshock_dashboard.notify.slow_burn_news import Announced
from foreshock_dashboard.store.outbox import OutboxMessage

PREFIX = "slow burn "
"""Begins the subjects of these messages in the outbox, unlike that of any incident."""


class GroupBody(MessageBody):
    """A message about slow burns. members: as last announced. missing_since: Unix seconds; None while any is there."""

    members: tuple[Announced, ...]
    missing_since: float | None = None

    @property
    def announced(self) -> Mapping[SlowBurnKey, Announced]:
        """The members by key."""
        return {member.key: member for member in self.members}


def group_body(message: OutboxMessage) -> GroupBody:
    """The body of a message about slow burns. Raises ValueError if it cannot be read."""
    return _parsed(message.body)


@lru_cache(maxsize=1024)
def _parsed(body: str) -> GroupBody:
    """A body changes hourly at most, and is read every few seconds."""
    return GroupBody.model_validate_json(body)


def grouped(
    burns: Sequence[SlowBurn], services_by_host: Mapping[str, Set[Service]], of_open: Mapping[SlowBurnKey, str]
) -> Mapping[str, Sequence[SlowBurn]]:
    """Slow burns by subject, the earliest first: those of a host, else those of a kind in a namespace or cluster.

    Memory of the pods of a service belongs to the host of its GPUs, if that is one, and fills up itself. What an open
    message has announced stays in its group, so that its date and end are compared with what was said.

    Args:
        of_open: subjects of open messages by member.
    """
    filling = {burn.host for burn in burns if burn.host}
    hosts: dict[Service | None, list[str]] = {}
    for host, services in services_by_host.items():
        for service in services:
            hosts.setdefault(service, []).append(host)
    groups: dict[str, list[SlowBurn]] = {}
    for burn in burns:
        of = hosts.get(burn.service, [])
        is_shared = burn.kind is SlowBurnKind.MEMORY and len(of) == 1 and of[0] in filling
        on = of[0] if is_shared else burn.host
        subject = f"host {on}" if on else f"{burn.kind} {_namespace(burn)}".rstrip()
        groups.setdefault(of_open.get(burn.key, f"{PREFIX}{subject}"), []).append(burn)
    return groups


def services_of(burn: SlowBurn, services_by_host: Mapping[str, Set[Service]]) -> Iterable[Service]:
    """The services whose owners and channels a slow burn is for; one without a name where none is known."""
    if burn.service:
        return (burn.service,)
    return sorted(services_by_host.get(burn.host, ())) or (Service(_namespace(burn), ""),)


def _namespace(burn: SlowBurn) -> str:
    """The namespace of a service or quota, with its cluster; of another thing, its cluster alone."""
    if burn.service:
        return burn.service.namespace
    cluster, name = split_cluster(burn.name)
    return qualified(cluster, name.partition("/")[0] if burn.kind is SlowBurnKind.QUOTA else "")
