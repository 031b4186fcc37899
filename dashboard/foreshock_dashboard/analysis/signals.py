"""Every figure that is compared with what is usual: one table, so that signals, evidence and explanations agree."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.analysis.baseline import median, usual
from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.inference import Inference
from foreshock_dashboard.model.network import Network
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World

HISTORY = 7200.0
"""Seconds of past that a baseline rests on, as far as there are so many."""
GUARD = 180.0
"""Seconds before now that are left out of the baseline, so that what begins does not become what is usual."""
SPACING = 60.0
"""Seconds between the points that a baseline takes: rates over a minute tell nothing new more often."""
LEAST = 5
"""Points that a baseline needs at least."""
RECENT = 3
"""Grid points whose median stands for now: one lost scrape or one slow request does not move it."""

Key = Hashable


def inference(world: World) -> Inference:
    """What model servers tell, if only that there are none."""
    return world.inference or Inference.empty(len(world.times))


def capacity(world: World) -> Capacity:
    """What the cluster tells of replicas and quotas."""
    return world.capacity or Capacity.empty(len(world.times))


def network(world: World) -> Network:
    """What hosts tell of their network."""
    return world.network or Network.empty(len(world.times))


def hardware(world: World) -> Hardware:
    """What GPUs tell of their health."""
    return world.hardware or Hardware.empty(len(world.gpus), len(world.times))


class Signal(NamedTuple):
    """A figure of every thing of a kind.

    keys: what the rows are of. values: of some grid points, shape (rows, points). log: compared as ratios, else as
    differences. floor: least scale, in logarithms or in the signal's unit, below which a difference is never
    remarkable. bad: +1 where more is worse, -1 where less is, 0 where it only tells of load. quick: the newest point
    stands for now.
    """

    name: str
    text: str
    unit: str
    keys: Callable[[World], Sequence[Key]]
    values: Callable[[World, slice], Floats]
    log: bool
    floor: float
    bad: int = 1
    quick: bool = False


def _excess(world: World, columns: slice) -> Floats:
    """How many times as long a call takes for its client as for its server."""
    server = world.server_p95[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(server > 0, world.calls.p95[:, columns] / server, np.nan)


def _flight(world: World, columns: slice) -> Floats:
    """Requests in flight by Little's law, L = λ · W, with the median for the mean."""
    return world.red.rate[:, columns] * world.red.p50[:, columns]


def _waiting(world: World, columns: slice) -> Floats:
    return inference(world).waiting[:, columns] + 1.0


def _held(world: World, columns: slice) -> Floats:
    """KV cache per running request, mean of a minute: how long requests are, prompt and answer."""
    found = inference(world)
    running = _before(world, found.running, columns, 60.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(running > 0, _before(world, found.cache, columns, 60.0) / running, np.nan)


def _tokens(world: World, columns: slice) -> Floats:
    """Tokens generated, mean of three minutes: arrivals of people come in bursts of minutes, their work less so."""
    return _before(world, inference(world).generated_tokens, columns, 180.0)


def _before(world: World, values: Floats, columns: slice, seconds: float) -> Floats:
    """The mean of the seconds up to each of the columns, as far as there are samples."""
    at = np.arange(values.shape[1])[columns]
    known = np.isfinite(values)
    sums = np.cumsum(np.pad(np.where(known, values, 0.0), ((0, 0), (1, 0))), axis=1)
    counts = np.cumsum(np.pad(known, ((0, 0), (1, 0))), axis=1)
    first = np.maximum(at + 1 - max(1, round(seconds / world.step)), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = (sums[:, at + 1] - sums[:, first]) / (counts[:, at + 1] - counts[:, first])
    return mean


def _running(world: World, columns: slice) -> Floats:
    found = inference(world)
    return found.running[:, columns] + np.nan_to_num(found.waiting[:, columns]) + 1.0


def _ready(world: World, columns: slice) -> Floats:
    found = capacity(world)
    wanted = found.wanted[:, columns]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(wanted > 0, found.ready[:, columns] / wanted, np.nan)


def _services(world: World) -> Sequence[Key]:
    return world.services


def _edges(world: World) -> Sequence[Key]:
    return world.edges


def _models(world: World) -> Sequence[Key]:
    return inference(world).services


def _gpus(world: World) -> Sequence[Key]:
    return world.gpus


def _hosts(world: World) -> Sequence[Key]:
    return network(world).hosts


SIGNALS: tuple[Signal, ...] = (
    Signal("rate", "requests", "1/s", _services, lambda w, c: w.red.rate[:, c], True, 0.15, 0),
    Signal("p50", "median duration", "s", _services, lambda w, c: w.red.p50[:, c], True, 0.10),
    Signal("p95", "p95", "s", _services, lambda w, c: w.red.p95[:, c], True, 0.10),
    Signal("failed", "failed requests", "ratio", _services, lambda w, c: w.red.failed[:, c], False, 0.004),
    Signal("flight", "requests in flight", "", _services, _flight, True, 0.15),
    Signal("edge_rate", "calls", "1/s", _edges, lambda w, c: w.calls.rate[:, c], True, 0.15, 0),
    Signal("edge_p95", "p95 as its client sees it", "s", _edges, lambda w, c: w.calls.p95[:, c], True, 0.10),
    Signal("edge_server", "p95 as its server sees it", "s", _edges, lambda w, c: w.server_p95[:, c], True, 0.10),
    Signal("edge_failed", "failed calls", "ratio", _edges, lambda w, c: w.calls.failed[:, c], False, 0.004),
    Signal("excess", "client's p95 over the server's", "", _edges, _excess, True, 0.15),
    Signal("attempts", "attempts per call", "", _edges, lambda w, c: w.attempts[:, c], False, 0.02),
    Signal("waiting", "requests in the queue", "", _models, _waiting, True, 0.35),
    Signal("running", "requests running and waiting", "", _models, _running, True, 0.20),
    Signal("cache", "KV cache used", "ratio", _models, lambda w, c: inference(w).cache[:, c], False, 0.05),
    Signal("preempted", "preemptions", "1/s", _models, lambda w, c: inference(w).preempted[:, c], False, 0.02),
    Signal("queued", "time in the queue", "s", _models, lambda w, c: inference(w).queued[:, c], False, 0.1),
    Signal(
        "first_token", "time to the first token", "s", _models, lambda w, c: inference(w).first_token[:, c], True, 0.15
    ),
    Signal("per_token", "time per token", "s", _models, lambda w, c: inference(w).per_token[:, c], True, 0.06),
    Signal("prompt", "tokens in prompts", "1/s", _models, lambda w, c: inference(w).prompt_tokens[:, c], True, 0.2, 0),
    Signal(
        "generated", "tokens in answers", "1/s", _models, lambda w, c: inference(w).generated_tokens[:, c], True, 0.2, 0
    ),
    Signal("held", "KV cache per request", "ratio", _models, _held, True, 0.06),
    Signal("tokens", "tokens in answers over minutes", "1/s", _models, _tokens, True, 0.06, 0),
    Signal("busy", "GPU time", "ratio", lambda w: w.tenants, lambda w, c: w.busy[:, c], False, 0.03, 0, True),
    Signal(
        "stalled_by",
        "GPU time waited",
        "ratio",
        lambda w: w.stalls,
        lambda w, c: w.stalled_by[:, c],
        False,
        0.03,
        1,
        True,
    ),
    Signal("utilization", "GPU utilization", "ratio", _gpus, lambda w, c: w.utilization[:, c], False, 0.05, 0, True),
    Signal("clock", "GPU clock", "ratio", _gpus, lambda w, c: hardware(w).clock[:, c], False, 0.03, -1),
    Signal("throttled", "time throttled", "ratio", _gpus, lambda w, c: hardware(w).throttled[:, c], False, 0.05),
    Signal("errors", "GPU errors", "1/s", _gpus, lambda w, c: hardware(w).errors[:, c], False, 0.001, 1, True),
    Signal("ready", "replicas ready of those wanted", "ratio", lambda w: capacity(w).services, _ready, False, 0.05, -1),
    Signal("nic", "network interface used", "ratio", _hosts, lambda w, c: network(w).used[:, c], False, 0.05),
    Signal(
        "retransmitted",
        "TCP segments sent again",
        "ratio",
        _hosts,
        lambda w, c: network(w).retransmitted[:, c],
        False,
        3e-3,
    ),
    Signal("dropped", "packets dropped", "1/s", _hosts, lambda w, c: network(w).dropped[:, c], False, 1.0),
)
NAMED: Mapping[str, Signal] = {signal.name: signal for signal in SIGNALS}


@dataclass(frozen=True, slots=True)
class Usual:
    """Level and scale of every signal of every thing, as they were when they were taken (Unix seconds).

    Levels and scales are in logarithms where the signal is compared as ratios.
    """

    time: float
    levels: Mapping[str, Mapping[Key, tuple[float, float]]]


def usual_at(world: World, at: int, signals: Sequence[Signal] = SIGNALS) -> Usual:
    """What was usual before grid point `at`: median and scaled MAD of what came `GUARD` seconds earlier and before.

    Things with fewer than `LEAST` points have no baseline.
    """
    columns = _columns(world, at)
    levels = {}
    for signal in signals:
        values = transformed(signal, signal.values(world, columns))
        found = usual(values, signal.floor, signal.bad)
        enough = np.isfinite(values).sum(axis=1) >= LEAST
        rows = zip(signal.keys(world), found.level.tolist(), found.scale.tolist(), enough.tolist(), strict=True)
        levels[signal.name] = {key: (level, scale) for key, level, scale, known in rows if known}
    return Usual(float(world.times[at]), levels)


def _columns(world: World, at: int) -> slice:
    guard, history = round(GUARD / world.step), round(HISTORY / world.step)
    stride = max(1, round(SPACING / world.step))
    last = max(0, at - guard)
    first = max(0, last - history)
    return slice(first + (last - first) % stride, last, stride)


def transformed(signal: Signal, values: Floats) -> Floats:
    """The values as they are compared."""
    if not signal.log:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where(values > 0, values, np.nan))


class Now(NamedTuple):
    """A signal at one grid point. Arrays of shape (rows,), NaN where it is not known.

    value and level in the signal's unit; z in scales, positive where it is worse (more, where it only tells of load);
    ratio: value over level.
    """

    keys: Mapping[Key, int]
    value: Floats
    level: Floats
    z: Floats
    ratio: Floats


class Scan:
    """The World at one grid point, against what is usual. Signals are looked at when they are asked for."""

    def __init__(self, world: World, at: int, base: Usual) -> None:
        self.world = world
        self.at = at
        self.base = base
        self._found: dict[str, Now] = {}

    @property
    def time(self) -> float:
        """Unix seconds of the grid point."""
        return float(self.world.times[self.at])

    def __getitem__(self, name: str) -> Now:
        if name not in self._found:
            self._found[name] = self._look(NAMED[name])
        return self._found[name]

    def _look(self, signal: Signal) -> Now:
        keys = signal.keys(self.world)
        points = 1 if signal.quick else RECENT
        window = signal.values(self.world, slice(max(0, self.at + 1 - points), self.at + 1))
        values = recent(window, window.shape[1] - 1, points)
        levels = self.base.levels.get(signal.name, {})
        nothing = (np.nan, np.nan)
        pairs = [levels.get(key, nothing) for key in keys]
        level, scale = np.array(pairs, np.float64).reshape(-1, 2).T
        compared = transformed(signal, values)
        z = (compared - level) / scale * (signal.bad or 1)
        usual_value = np.exp(level) if signal.log else level
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = values / usual_value
        return Now({key: row for row, key in enumerate(keys)}, values, usual_value, z, ratio)

    def z(self, name: str, key: Key) -> float:
        """The signal's z of one thing; NaN where it is not known."""
        return self._of(name, key, self[name].z)

    def value(self, name: str, key: Key) -> float:
        """The signal's value of one thing, in its unit."""
        return self._of(name, key, self[name].value)

    def level(self, name: str, key: Key) -> float:
        """What is usual of one thing, in the signal's unit."""
        return self._of(name, key, self[name].level)

    def ratio(self, name: str, key: Key) -> float:
        """Value over level of one thing."""
        return self._of(name, key, self[name].ratio)

    def _of(self, name: str, key: Key, column: Floats) -> float:
        row = self[name].keys.get(key)
        return float("nan") if row is None else float(column.item(row))

    def histories(self, name: str, seconds: float) -> Floats:
        """The signal over the last seconds as it is compared, oldest first. Shape (rows, points)."""
        signal = NAMED[name]
        columns = slice(max(0, self.at + 1 - round(seconds / self.world.step)), self.at + 1)
        return transformed(signal, signal.values(self.world, columns))

    def history(self, name: str, key: Key, seconds: float) -> Floats:
        """The signal of one thing over the last seconds as it is compared, oldest first."""
        row = self[name].keys.get(key)
        points = round(seconds / self.world.step)
        if row is None:
            return np.full(min(points, self.at + 1), np.nan)
        signal = NAMED[name]
        columns = slice(max(0, self.at + 1 - points), self.at + 1)
        found: Floats = transformed(signal, signal.values(self.world, columns)[row : row + 1])[0]
        return found

    def since(self, name: str, key: Key, threshold: float = 2.5, most: float = 3600.0) -> float:
        """Unix seconds from which on the signal has been beyond `threshold` scales; now where it is not."""
        found = self.history(name, key, most)
        level, scale = self.base.levels.get(name, {}).get(key, (np.nan, np.nan))
        beyond = (found - level) / scale * (NAMED[name].bad or 1) > threshold
        inside = np.flatnonzero(~beyond & np.isfinite(found))
        first = len(found) if not len(found) else (int(inside[-1]) + 1 if len(inside) else 0)
        return self.time - (len(found) - 1 - min(first, len(found) - 1)) * self.world.step if len(found) else self.time

    @cached_property
    def tenancies(self) -> Mapping[Service, list[int]]:
        """Rows of the tenants of each service."""
        found: dict[Service, list[int]] = {}
        for row, tenant in enumerate(self.world.tenants):
            found.setdefault(tenant.service, []).append(row)
        return found

    @cached_property
    def stalls(self) -> Mapping[Service, list[int]]:
        """Rows of the stalls that each service suffers."""
        found: dict[Service, list[int]] = {}
        for row, stall in enumerate(self.world.stalls):
            found.setdefault(stall.victim, []).append(row)
        return found

    @cached_property
    def into(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead to each service."""
        found: dict[Service, list[int]] = {}
        for row, edge in enumerate(self.world.edges):
            found.setdefault(edge.server, []).append(row)
        return found

    @cached_property
    def out(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead from each service."""
        found: dict[Service, list[int]] = {}
        for row, edge in enumerate(self.world.edges):
            found.setdefault(edge.client, []).append(row)
        return found

    @cached_property
    def callers(self) -> Mapping[Service, tuple[Service, ...]]:
        """Who calls each service directly, nobody outside the platform."""
        found: dict[Service, list[Service]] = {}
        for edge in self.world.edges:
            if edge.connection != "virtual_node":
                found.setdefault(edge.server, []).append(edge.client)
        return {server: tuple(dict.fromkeys(clients)) for server, clients in found.items()}

    @cached_property
    def callees(self) -> Mapping[Service, tuple[Service, ...]]:
        """Whom each service calls directly."""
        found: dict[Service, list[Service]] = {}
        for edge in self.world.edges:
            if edge.connection != "virtual_node":
                found.setdefault(edge.client, []).append(edge.server)
        return {client: tuple(dict.fromkeys(servers)) for client, servers in found.items()}


def recent(values: Floats, at: int, points: int = RECENT) -> Floats:
    """The median of the last `points` columns up to `at`, per row; NaN where none has a value."""
    return median(values[:, max(0, at - points + 1) : at + 1])
