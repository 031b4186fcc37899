"""Readings → what hosts tell of their interfaces and connections."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.rows import Named, hosts_of, keys_of, ratio, rows_of, target_of, while_up
from foreshock_dashboard.model.history import added
from foreshock_dashboard.model.network import Network
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.readings import Readings

BY_INTERFACE = ("received", "sent", "speed")
BY_HOST = ("segments", "retransmitted", "timeouts", "dropped")


class Interface(NamedTuple):
    """An Ethernet interface, or a port of an RDMA adapter."""

    host: str
    device: str
    port: str


def network_of(readings: Readings) -> Network | None:
    """Arrange what hosts tell; None where none does. Two exporters of one host are copies of each other."""
    names = hosts_of(readings["host"])
    told = {key: while_up(readings[key], readings["up"]) for key in (*BY_INTERFACE, *BY_HOST)}

    def host(labels: Named) -> str:
        target = target_of(labels)
        return names.get(target) or re.sub(r":\d+$", "", target[1])

    def interface(labels: Named) -> Interface:
        return Interface(host(labels), labels.get("device", ""), labels.get("port", ""))

    interfaces = keys_of([told[key] for key in BY_INTERFACE], interface)
    hosts = sorted({each.host for each in interfaces} | set(keys_of([told[key] for key in BY_HOST], host)))
    if not hosts:
        return None
    received, sent, speed = (rows_of(told[key], interfaces, interface, copies=True) for key in BY_INTERFACE)
    segments, again, timeouts, dropped = (rows_of(told[key], hosts, host, copies=True) for key in BY_HOST)
    of = [hosts.index(each.host) for each in interfaces]
    used = np.minimum(ratio(np.fmax(received, sent), speed), 1.0)
    return Network(
        hosts=tuple(hosts),
        used=_over(np.fmax, used, of, len(hosts)),
        bytes=_over(added, added(received, sent), of, len(hosts)),
        retransmitted=np.minimum(ratio(again, segments), 1.0),
        timeouts=timeouts,
        dropped=dropped,
    )


def _over(join: Callable[[Floats, Floats], Floats], rows: Floats, of: Sequence[int], count: int) -> Floats:
    """Join the rows of each host."""
    out = np.full((count, rows.shape[1]), np.nan)
    for row, host in zip(rows, of, strict=True):
        out[host] = join(out[host], row)
    return out
