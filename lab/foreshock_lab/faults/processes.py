"""Faults of processes: deploys, restarts, crashes, hangs, and lost replicas."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping

from foreshock_lab.faults.behaviors import Behavior
from foreshock_lab.faults.injection import Inject
from foreshock_lab.faults.periodic import Periodic
from foreshock_lab.faults.target import System

FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"
"""libfaketime as Debian installs it."""
CRASH_POLL_SECONDS = 0.2
"""Time between two looks at the replicas that crash."""


class Rollout:
    """Replicas restart one after another, as another version if that is given; clearing rolls back."""

    def __init__(self, system: System, name: str, version: str | None, behavior: Behavior) -> None:
        self._system, self._name, self._version, self._behavior = system, name, version, behavior

    def set(self, amount: float) -> None:
        """Roll out the version, with the behavior of an amount."""
        changed = self._behavior(amount)
        if changed:
            self._system.behave(self._name, **changed)
        self._roll(self._version, {})

    def clear(self) -> None:
        """Roll back; a restart of the same version stays."""
        self._system.behave(self._name)
        if self._version:
            self._roll("1", {})

    def _roll(self, version: str | None, env: Mapping[str, str]) -> None:
        for replica in range(len(self._system.service(self._name).replicas)):
            self._system.stop(self._name, replica)
            self._system.start(self._name, replica, version, env)


class ClockSkew(Rollout):
    """The wall clocks of a service's processes are ahead (libfaketime); timers are not."""

    def __init__(self, system: System, name: str) -> None:
        super().__init__(system, name, None, lambda _amount: {})

    def set(self, amount: float) -> None:
        """Set the clocks ahead by `amount` seconds."""
        skewed = {"LD_PRELOAD": FAKETIME, "FAKETIME": f"+{amount}s", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        self._roll(None, skewed)

    def clear(self) -> None:
        """Restart with the right time."""
        self._roll(None, {"LD_PRELOAD": "", "FAKETIME": ""})


class Loss:
    """All replicas are killed and do not start again."""

    def __init__(self, system: System, name: str) -> None:
        self._system, self._name = system, name
        self._replicas = range(len(system.service(name).replicas))

    def set(self, _amount: float) -> None:
        """Kill them."""
        for replica in self._replicas:
            self._system.stop(self._name, replica, kill=True)

    def clear(self) -> None:
        """Start them."""
        for replica in self._replicas:
            self._system.start(self._name, replica)


class Hang:
    """`amount` replicas of a service answer no longer while their connections stay open (SIGSTOP)."""

    def __init__(self, system: System, name: str) -> None:
        self._pids = [replica.pid for replica in system.service(name).replicas]

    def set(self, amount: float) -> None:
        """Stop the processes."""
        for pid in self._pids[: round(amount)]:
            os.kill(pid, signal.SIGSTOP)

    def clear(self) -> None:
        """Let the processes continue."""
        for pid in self._pids:
            os.kill(pid, signal.SIGCONT)


class ScrapeGap:
    """Prometheus is stopped for `amount` seconds."""

    def __init__(self, system: System) -> None:
        self._pid = system.prometheus_pid
        self._timer: threading.Timer | None = None

    def set(self, amount: float) -> None:
        """Stop it."""
        os.kill(self._pid, signal.SIGSTOP)
        self._timer = threading.Timer(amount, os.kill, (self._pid, signal.SIGCONT))
        self._timer.start()

    def clear(self) -> None:
        """Let it continue."""
        if self._timer:
            self._timer.cancel()
        os.kill(self._pid, signal.SIGCONT)


def rollout(version: str | None = None, behavior: Behavior = lambda _amount: {}) -> Inject:
    """A restart of all replicas, one after another; a deploy if a version is given."""
    return lambda system, name: Rollout(system, name, version, behavior)


def scrape_gap(system: System, _name: str) -> ScrapeGap:
    """A time without scrapes."""
    return ScrapeGap(system)


def crashes(system: System, name: str) -> Periodic:
    """All replicas are killed `amount` seconds after each start; they start again with a backoff, as pods do."""
    seen: dict[int, float] = {}

    def kill(uptime: float) -> float:
        for replica in system.service(name).replicas:
            if replica.running and time.monotonic() - seen.setdefault(replica.pid, time.monotonic()) > uptime:
                os.kill(replica.pid, signal.SIGKILL)
        return CRASH_POLL_SECONDS

    return Periodic(kill)
