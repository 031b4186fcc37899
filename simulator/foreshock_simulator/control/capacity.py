"""Pools of GPUs: who holds which, who waits, and how long a node takes to come."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Literal, NamedTuple

from foreshock_simulator.control.delays import provisioning
from foreshock_simulator.control.states import QuotaState
from foreshock_simulator.core.engine import Engine, Signal
from foreshock_simulator.spec.hosts import Place, PoolSpec

IDLE_SECONDS = 600.0
"""A node without work is given back after so long (the cluster autoscaler's scale-down-unneeded-time)."""


Reason = Literal["quota", "full", "behind", "provisioning"]


class Waiting(NamedTuple):
    """A claim that is not yet granted.

    `reason`: the quota is exhausted, no host has as many GPUs free, another claim is before it, or its node is coming.
    """

    pool: str
    gpus: int
    since: float
    reason: Reason


@dataclass(slots=True, eq=False)
class _Claim:
    gpus: int
    since: float
    signal: Signal
    places: tuple[Place, ...] = ()


@dataclass(slots=True, eq=False)
class _Pool:
    spec: PoolSpec
    held: dict[Place, int]
    there_until: dict[Place, float]
    """When a GPU's node is given back; infinite while it is held; -inf before it came."""
    queue: deque[_Claim] = field(default_factory=deque)
    coming: dict[_Claim, None] = field(default_factory=dict)

    @property
    def used(self) -> int:
        return sum(self.held.values())

    @property
    def quota(self) -> int:
        most = len(self.spec.places) * self.spec.slots
        return most if self.spec.quota is None else min(self.spec.quota, most)


class Capacity:
    """The pools of a platform. Claims of a pool are granted in the order in which they came, whatever their size.

    A claim gets the emptiest GPUs of one host, those first whose node is there. Each GPU is a node of its own: where
    the pool's `provisioning` is above 0, one that was not used for `IDLE_SECONDS` has to come first, and counts against
    the quota meanwhile. A claim for which the quota has no room waits, for ever if need be.
    """

    __slots__ = ("_engine", "_of_place", "_pools", "_rng")

    def __init__(self, engine: Engine, pools: Iterable[PoolSpec], rng: random.Random) -> None:
        self._engine = engine
        self._rng = rng
        self._pools = {
            spec.name: _Pool(
                spec,
                dict.fromkeys(spec.places, 0),
                dict.fromkeys(spec.places, -inf if spec.provisioning > 0.0 else inf),
            )
            for spec in pools
        }

    def take(self, pool: str, gpus: int) -> tuple[Place, ...]:
        """GPUs for a replica that runs from the start: at once, their nodes being there.

        Raises:
            KeyError: no such pool.
            ValueError: it has no such room.
        """
        of = self._pools[pool]
        places = self._choose(of, gpus) if of.used + gpus <= of.quota else None
        if places is None:
            raise ValueError(
                f"pool {pool!r}: no room for {gpus} more GPUs on one host ({of.used} of {of.quota} are held); "
                "lower the replicas or raise quota, places or slots"
            )
        self._hold(of, places)
        return places

    def claim(self, pool: str, gpus: int) -> Signal:
        """Ask for GPUs of one host.

        Returns:
            Fires with a tuple of `Place` when they are there.

        Raises:
            KeyError: no such pool.
            ValueError: less than one GPU is asked for.
        """
        if gpus < 1:
            raise ValueError(f"a claim of {gpus} GPUs of pool {pool!r} is none")
        of, claim = self._pools[pool], _Claim(gpus, self._engine.now, Signal(self._engine))
        of.queue.append(claim)
        self._grant(of)
        return claim.signal

    def withdraw(self, pool: str, signal: Signal) -> None:
        """Take a claim back that is not yet granted; nothing happens where it is. The signal never fires."""
        of = self._pools[pool]
        for claim in (*of.queue, *of.coming):
            if claim.signal is signal:
                if claim.places:
                    del of.coming[claim]
                    self.release(pool, claim.places)
                else:
                    of.queue.remove(claim)
                    self._grant(of)
                return

    def release(self, pool: str, places: Sequence[Place]) -> None:
        """Give GPUs back. Their nodes stay for a while.

        Raises:
            ValueError: one is not held.
        """
        of = self._pools[pool]
        for place in places:
            if not of.held.get(place):
                raise ValueError(f"{place} of pool {pool!r} is released and not held")
            of.held[place] -= 1
            if not of.held[place] and of.spec.provisioning > 0.0 and of.there_until[place] == inf:
                of.there_until[place] = self._engine.now + IDLE_SECONDS
        self._grant(of)

    def pending(self, pool: str | None = None) -> tuple[Waiting, ...]:
        """Claims that wait, in the order of the pools and of time."""
        waiting: list[Waiting] = []
        for name, of in self._pools.items():
            if pool in (None, name):
                waiting += (Waiting(name, claim.gpus, claim.since, "provisioning") for claim in of.coming)
                waiting += (Waiting(name, claim.gpus, claim.since, _obstacle(of, claim)) for claim in of.queue)
        return tuple(waiting)

    def quotas(self, namespace: str) -> tuple[QuotaState, ...]:
        """How the pools' quotas stand."""
        return tuple(QuotaState(namespace, name, of.quota, of.used) for name, of in self._pools.items())

    def _grant(self, of: _Pool) -> None:
        while of.queue:
            claim = of.queue[0]
            places = self._choose(of, claim.gpus) if of.used + claim.gpus <= of.quota else None
            if places is None:
                return
            of.queue.popleft()
            claim.places = places
            there = all(self._there(of, place) for place in places)
            if there:
                self._hold(of, places)
                claim.signal.fire(places)
            else:
                for place in places:
                    of.held[place] += 1
                of.coming[claim] = None
                delay = provisioning(self._rng, of.spec.provisioning)
                self._engine.schedule(self._engine.now + delay, self._come, (of, claim))

    def _come(self, what: tuple[_Pool, _Claim]) -> None:
        of, claim = what
        if claim in of.coming:
            del of.coming[claim]
            for place in claim.places:
                of.there_until[place] = inf
            claim.signal.fire(claim.places)

    def _hold(self, of: _Pool, places: Iterable[Place]) -> None:
        for place in places:
            of.held[place] += 1
            of.there_until[place] = inf

    def _there(self, of: _Pool, place: Place) -> bool:
        return of.there_until[place] >= self._engine.now

    def _choose(self, of: _Pool, gpus: int) -> tuple[Place, ...] | None:
        """The best GPUs of one host: those that are there, then the emptiest, then in the order of the pool."""
        rank = {
            place: (not self._there(of, place), held, order)
            for order, (place, held) in enumerate(of.held.items())
            if held < of.spec.slots
        }
        hosts: dict[str, list[Place]] = {}
        for place in sorted(rank, key=rank.__getitem__):
            hosts.setdefault(place.host, []).append(place)
        sets = [tuple(places[:gpus]) for places in hosts.values() if len(places) >= gpus]
        return min(sets, key=lambda places: [rank[place] for place in reversed(places)], default=None)


def _obstacle(of: _Pool, claim: _Claim) -> Reason:
    if claim is not of.queue[0]:
        return "behind"
    return "quota" if of.used + claim.gpus > of.quota else "full"
