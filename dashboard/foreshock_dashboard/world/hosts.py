"""Readings → what hosts tell of their interfaces and connections."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.network import Network
from foreshock_dashboard.stats.robust import nan_sum
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_alignment import Numbers
from foreshock_dashboard.world.row_math import Named, Told, ratio, totals
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections
from foreshock_dashboard.world.targets import Address, target_of

BY_INTERFACE = ("received", "sent", "speed")
BY_HOST = ("segments", "retransmitted", "timeouts", "dropped")
TOLD = ("used", "bytes", "retransmitted", "timeouts", "dropped")


class Interface(NamedTuple):
    """An Ethernet interface, or a port of an RDMA adapter."""

    host: str
    device: str
    port: str


class Hosts:
    """Rows of hosts, and of the interfaces that they have. Two exporters of one host are copies of each other."""

    def __init__(self, sections: Sections, names: Told[Address, str]) -> None:
        self.interfaces: Section[Interface] = sections.new(tuple)
        self.by_host: Section[str] = sections.new(str)
        self.hosts: Section[str] = sections.new(str)
        self._names = names
        self._of: tuple[tuple[Interface, ...], tuple[str, ...], Numbers] = ((), (), np.empty(0, np.int64))

    def meet(self, readings: Readings, since: float, renamed: bool) -> None:
        """Name what is told of; `renamed`: hosts have other names than before."""
        if renamed:
            self.interfaces.forget(*BY_INTERFACE)
            self.by_host.forget(*BY_HOST)
            self.hosts.forget(*BY_HOST)
        for key in BY_INTERFACE:
            self.interfaces.meet(key, readings[key], self._interface)
        for key in BY_HOST:
            self.by_host.meet(key, readings[key], self._host)
        self.interfaces.settle(since)
        self.by_host.settle(since)
        if self._of[0] is not self.interfaces.keys or self._of[1] is not self.by_host.keys:
            self.hosts.hold({each.host for each in self.interfaces.keys} | set(self.by_host.keys))
            place = {host: i for i, host in enumerate(self.hosts.keys)}
            of = np.array([place[each.host] for each in self.interfaces.keys], np.int64)
            self._of = (self.interfaces.keys, self.by_host.keys, of)

    def arrange(self, readings: Readings) -> Growth:
        """What is told, as rows."""
        received, sent, speed = (
            self.interfaces.rows(key, readings[key], self._interface, copies=True, while_up=True)
            for key in BY_INTERFACE
        )
        segments, again, timeouts, dropped = (
            self.hosts.rows(key, readings[key], self._host, copies=True, while_up=True) for key in BY_HOST
        )
        used = np.minimum(ratio(np.fmax(received, sent), speed), 1.0)
        fullest = np.full((len(self.hosts.keys), used.shape[1]), np.nan)
        np.fmax.at(fullest, self._of[2], used)
        carried = totals(nan_sum(received, sent), self._of[2], len(self.hosts.keys))
        told = (fullest, carried, np.minimum(ratio(again, segments), 1.0), timeouts, dropped)
        return [(self.hosts, dict(zip(TOLD, told, strict=True)))]

    def told(self) -> Network | None:
        """What hosts tell; None where none does."""
        return Network(self.hosts.keys, *(self.hosts[key] for key in TOLD)) if self.hosts.keys else None

    def _host(self, labels: Named) -> str:
        target = target_of(labels)
        return self._names.found.get(target) or re.sub(r":\d+$", "", target[1])

    def _interface(self, labels: Named) -> Interface:
        return Interface(self._host(labels), labels.get("device", ""), labels.get("port", ""))
