"""Rows of hosts: network interfaces and TCP connections."""

from __future__ import annotations

import re
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.network import Network
from foreshock_dashboard.stats.robust import nan_sum
from foreshock_dashboard.world.catalogue.catalogue import Readings
from foreshock_dashboard.world.row_alignment import IntArray
from foreshock_dashboard.world.row_math import LabelFacts, LabelMap, safe_ratio, sums_by_group
from foreshock_dashboard.world.section import Section
from foreshock_dashboard.world.sections import Growth, Sections
from foreshock_dashboard.world.targets import Address, target_of

INTERFACE_READINGS = ("received", "sent", "speed")
HOST_READINGS = ("segments", "retransmitted", "timeouts", "dropped")
HOST_FIGURES = ("used", "bytes", "retransmitted", "timeouts", "dropped")


class Interface(NamedTuple):
    """An Ethernet interface or an RDMA port."""

    host: str
    device: str
    port: str


class HostRows:
    """Rows of hosts and their interfaces. Two exporters of one host are copies of each other."""

    def __init__(self, sections: Sections, names: LabelFacts[Address, str]) -> None:
        self.interfaces: Section[Interface] = sections.new(tuple)
        self.by_host: Section[str] = sections.new(str)
        self.hosts: Section[str] = sections.new(str)
        self._names = names
        self._host_of_interface: tuple[tuple[Interface, ...], tuple[str, ...], IntArray] = (
            (),
            (),
            np.empty(0, np.int64),
        )

    def update(self, readings: Readings, since: float, renamed: bool) -> None:
        """Register the entities of new readings; `renamed`: names of hosts changed."""
        if renamed:
            self.interfaces.forget(*INTERFACE_READINGS)
            self.by_host.forget(*HOST_READINGS)
            self.hosts.forget(*HOST_READINGS)
        for key in INTERFACE_READINGS:
            self.interfaces.update(key, readings[key], self._interface)
        for key in HOST_READINGS:
            self.by_host.update(key, readings[key], self._host)
        self.interfaces.drop_idle(since)
        self.by_host.drop_idle(since)
        if (
            self._host_of_interface[0] is not self.interfaces.keys
            or self._host_of_interface[1] is not self.by_host.keys
        ):
            self.hosts.set_keys({interface.host for interface in self.interfaces.keys} | set(self.by_host.keys))
            place = {host: i for i, host in enumerate(self.hosts.keys)}
            rows = np.array([place[interface.host] for interface in self.interfaces.keys], np.int64)
            self._host_of_interface = (self.interfaces.keys, self.by_host.keys, rows)

    def columns(self, readings: Readings) -> Growth:
        """New columns of every figure."""
        received, sent, speed = (
            self.interfaces.rows(key, readings[key], self._interface, copies=True, while_up=True)
            for key in INTERFACE_READINGS
        )
        segments, retransmitted, timeouts, dropped = (
            self.hosts.rows(key, readings[key], self._host, copies=True, while_up=True) for key in HOST_READINGS
        )
        used = np.minimum(safe_ratio(np.fmax(received, sent), speed), 1.0)
        busiest = np.full((len(self.hosts.keys), used.shape[1]), np.nan)
        np.fmax.at(busiest, self._host_of_interface[2], used)
        throughput = sums_by_group(nan_sum(received, sent), self._host_of_interface[2], len(self.hosts.keys))
        figures = (busiest, throughput, np.minimum(safe_ratio(retransmitted, segments), 1.0), timeouts, dropped)
        return [(self.hosts, dict(zip(HOST_FIGURES, figures, strict=True)))]

    def network(self) -> Network | None:
        """Network by host; None without hosts."""
        return Network(self.hosts.keys, *(self.hosts[key] for key in HOST_FIGURES)) if self.hosts.keys else None

    def _host(self, labels: LabelMap) -> str:
        target = target_of(labels)
        return self._names.facts.get(target) or re.sub(r":\d+$", "", target[1])

    def _interface(self, labels: LabelMap) -> Interface:
        return Interface(self._host(labels), labels.get("device", ""), labels.get("port", ""))
