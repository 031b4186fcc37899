"""Every figure that is compared with what is usual: one table, so that signals, evidence and explanations agree."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from foreshock_dashboard.analysis.baseline import median, usual
from foreshock_dashboard.analysis.levels import Levels, Usual
from foreshock_dashboard.analysis.remembered import Remembered, grouped, rows_of
from foreshock_dashboard.model.capacity import Capacity
from foreshock_dashboard.model.hardware import Hardware
from foreshock_dashboard.model.inference import Inference
from foreshock_dashboard.model.network import Network
from foreshock_dashboard.model.query import Floats
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Edge, Stall, Tenant, World

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
NEWEST = 12
"""Grid points that are looked at first where it is asked since when something is as it is."""
OFTEN = 50
"""Times that this is asked of a signal one by one; then all its rows are looked at together."""

Key = Hashable
At = tuple[slice | list[int], slice]
"""Rows and columns of an array."""
ALL = slice(None)


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

    keys: what the rows are of. values: of some of them at some grid points, shape (rows, points). log: compared as
    ratios, else as differences. floor: least scale, in logarithms or in the signal's unit, below which a difference is
    never remarkable. bad: +1 where more is worse, -1 where less is, 0 where it only tells of load. quick: the newest
    point stands for now.
    """

    name: str
    text: str
    unit: str
    keys: Callable[[World], Sequence[Key]]
    values: Callable[[World, At], Floats]
    log: bool
    floor: float
    bad: int = 1
    quick: bool = False


def _excess(world: World, at: At) -> Floats:
    """How many times as long a call takes for its client as for its server."""
    server = world.server_p95[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(server > 0, world.calls.p95[at] / server, np.nan)


def _flight(world: World, at: At) -> Floats:
    """Requests in flight by Little's law, L = λ · W, with the median for the mean."""
    return world.red.rate[at] * world.red.p50[at]


def _waiting(world: World, at: At) -> Floats:
    return inference(world).waiting[at] + 1.0


def _held(world: World, at: At) -> Floats:
    """KV cache per running request, mean of a minute: how long requests are, prompt and answer."""
    found = inference(world)
    running = _before(world, found.running, at, 60.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(running > 0, _before(world, found.cache, at, 60.0) / running, np.nan)


def _tokens(world: World, at: At) -> Floats:
    """Tokens generated, mean of three minutes: arrivals of people come in bursts of minutes, their work less so."""
    return _before(world, inference(world).generated_tokens, at, 180.0)


def _before(world: World, values: Floats, where: At, seconds: float) -> Floats:
    """The mean of the seconds up to each of the columns, as far as there are samples."""
    values, at = values[where[0]], np.arange(values.shape[1])[where[1]]
    known = np.isfinite(values)
    sums = np.cumsum(np.pad(np.where(known, values, 0.0), ((0, 0), (1, 0))), axis=1)
    counts = np.cumsum(np.pad(known, ((0, 0), (1, 0))), axis=1)
    first = np.maximum(at + 1 - max(1, round(seconds / world.step)), 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean: Floats = (sums[:, at + 1] - sums[:, first]) / (counts[:, at + 1] - counts[:, first])
    return mean


def _running(world: World, at: At) -> Floats:
    found = inference(world)
    return found.running[at] + np.nan_to_num(found.waiting[at]) + 1.0


def _ready(world: World, at: At) -> Floats:
    found = capacity(world)
    wanted = found.wanted[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(wanted > 0, found.ready[at] / wanted, np.nan)


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
    Signal("rate", "requests", "1/s", _services, lambda w, at: w.red.rate[at], True, 0.15, 0),
    Signal("p50", "median duration", "s", _services, lambda w, at: w.red.p50[at], True, 0.10),
    Signal("p95", "p95", "s", _services, lambda w, at: w.red.p95[at], True, 0.10),
    Signal("failed", "failed requests", "ratio", _services, lambda w, at: w.red.failed[at], False, 0.004),
    Signal("flight", "requests in flight", "", _services, _flight, True, 0.15),
    Signal("edge_rate", "calls", "1/s", _edges, lambda w, at: w.calls.rate[at], True, 0.15, 0),
    Signal("edge_p95", "p95 as its client sees it", "s", _edges, lambda w, at: w.calls.p95[at], True, 0.10),
    Signal("edge_server", "p95 as its server sees it", "s", _edges, lambda w, at: w.server_p95[at], True, 0.10),
    Signal("edge_failed", "failed calls", "ratio", _edges, lambda w, at: w.calls.failed[at], False, 0.004),
    Signal("excess", "client's p95 over the server's", "", _edges, _excess, True, 0.15),
    Signal("attempts", "attempts per call", "", _edges, lambda w, at: w.attempts[at], False, 0.02),
    Signal("waiting", "requests in the queue", "", _models, _waiting, True, 0.35),
    Signal("running", "requests running and waiting", "", _models, _running, True, 0.20),
    Signal("cache", "KV cache used", "ratio", _models, lambda w, at: inference(w).cache[at], False, 0.05),
    Signal("preempted", "preemptions", "1/s", _models, lambda w, at: inference(w).preempted[at], False, 0.02),
    Signal("queued", "time in the queue", "s", _models, lambda w, at: inference(w).queued[at], False, 0.1),
    Signal(
        "first_token", "time to the first token", "s", _models, lambda w, at: inference(w).first_token[at], True, 0.15
    ),
    Signal("per_token", "time per token", "s", _models, lambda w, at: inference(w).per_token[at], True, 0.06),
    Signal("prompt", "tokens in prompts", "1/s", _models, lambda w, at: inference(w).prompt_tokens[at], True, 0.2, 0),
    Signal(
        "generated", "tokens in answers", "1/s", _models, lambda w, at: inference(w).generated_tokens[at], True, 0.2, 0
    ),
    Signal("held", "KV cache per request", "ratio", _models, _held, True, 0.06),
    Signal("tokens", "tokens in answers over minutes", "1/s", _models, _tokens, True, 0.06, 0),
    Signal("busy", "GPU time", "ratio", lambda w: w.tenants, lambda w, at: w.busy[at], False, 0.03, 0, True),
    Signal(
        "stalled_by",
        "GPU time waited",
        "ratio",
        lambda w: w.stalls,
        lambda w, at: w.stalled_by[at],
        False,
        0.03,
        1,
        True,
    ),
    Signal("utilization", "GPU utilization", "ratio", _gpus, lambda w, at: w.utilization[at], False, 0.05, 0, True),
    Signal("clock", "GPU clock", "ratio", _gpus, lambda w, at: hardware(w).clock[at], False, 0.03, -1),
    Signal("throttled", "time throttled", "ratio", _gpus, lambda w, at: hardware(w).throttled[at], False, 0.05),
    Signal("errors", "GPU errors", "1/s", _gpus, lambda w, at: hardware(w).errors[at], False, 0.001, 1, True),
    Signal("ready", "replicas ready of those wanted", "ratio", lambda w: capacity(w).services, _ready, False, 0.05, -1),
    Signal("nic", "network interface used", "ratio", _hosts, lambda w, at: network(w).used[at], False, 0.05),
    Signal(
        "retransmitted",
        "TCP segments sent again",
        "ratio",
        _hosts,
        lambda w, at: network(w).retransmitted[at],
        False,
        3e-3,
    ),
    Signal("dropped", "packets dropped", "1/s", _hosts, lambda w, at: network(w).dropped[at], False, 1.0),
)
NAMED: Mapping[str, Signal] = {signal.name: signal for signal in SIGNALS}


def usual_at(world: World, at: int, signals: Sequence[Signal] = SIGNALS, remembered: Remembered | None = None) -> Usual:
    """What was usual before grid point `at`: median and scaled MAD of what came `GUARD` seconds earlier and before.

    Things with fewer than `LEAST` points have no baseline.
    """
    columns, remembered = _columns(world, at), remembered or Remembered()
    levels = {}
    for signal in signals:
        keys = signal.keys(world)
        values = transformed(signal, signal.values(world, (ALL, columns)))
        found = usual(values, signal.floor, signal.bad)
        pairs = np.stack([found.level, found.scale], axis=1).astype(np.float64)
        pairs[np.isfinite(values).sum(axis=1) < LEAST] = np.nan
        levels[signal.name] = Levels(keys, remembered.of(rows_of, keys), pairs)
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

    def __init__(self, world: World, at: int, base: Usual, remembered: Remembered | None = None) -> None:
        self.world = world
        self.at = at
        self.base = base
        self.remembered = remembered or Remembered()
        self._found: dict[str, Now] = {}
        self._asked: dict[tuple[str, float], int] = {}
        self._inside: dict[tuple[str, float], list[int]] = {}

    @property
    def time(self) -> float:
        """Unix seconds of the grid point."""
        return float(self.world.times[self.at])

    def __getitem__(self, name: str) -> Now:
        found = self._found.get(name)
        if found is None:
            found = self._found[name] = self._look(NAMED[name])
        return found

    def _look(self, signal: Signal) -> Now:
        keys = signal.keys(self.world)
        points = 1 if signal.quick else RECENT
        window = signal.values(self.world, (ALL, slice(max(0, self.at + 1 - points), self.at + 1)))
        values = recent(window, window.shape[1] - 1, points)
        level, scale = self.base.of(signal.name).of(keys).T
        compared = transformed(signal, values)
        z = (compared - level) / scale * (signal.bad or 1)
        usual_value = np.exp(level) if signal.log else level
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = values / usual_value
        return Now(self.remembered.of(rows_of, keys), values, usual_value, z, ratio)

    def z(self, name: str, key: Key) -> float:
        """The signal's z of one thing; NaN where it is not known."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.z.item(row)

    def value(self, name: str, key: Key) -> float:
        """The signal's value of one thing, in its unit."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.value.item(row)

    def level(self, name: str, key: Key) -> float:
        """What is usual of one thing, in the signal's unit."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.level.item(row)

    def ratio(self, name: str, key: Key) -> float:
        """Value over level of one thing."""
        now = self[name]
        row = now.keys.get(key)
        return math.nan if row is None else now.ratio.item(row)

    def pair(self, name: str, key: Key) -> tuple[float, float]:
        """Level and scale of one thing as they are compared; NaN where it has no baseline."""
        return self.base.of(name).get(key)

    def histories(self, name: str, seconds: float) -> Floats:
        """The signal over the last seconds as it is compared, oldest first. Shape (rows, points)."""
        return self.past(name, ALL, round(seconds / self.world.step))

    def history(self, name: str, key: Key, seconds: float) -> Floats:
        """The signal of one thing over the last seconds as it is compared, oldest first."""
        row = self[name].keys.get(key)
        points = round(seconds / self.world.step)
        if row is None:
            return np.full(min(points, self.at + 1), np.nan)
        found: Floats = self.past(name, slice(row, row + 1), points)[0]
        return found

    def past(self, name: str, rows: slice | list[int], points: int) -> Floats:
        """The last points of some rows as they are compared, oldest first. Shape (rows, points)."""
        signal = NAMED[name]
        columns = slice(max(0, self.at + 1 - points), self.at + 1)
        return transformed(signal, signal.values(self.world, (rows, columns)))

    def since(self, name: str, key: Key, threshold: float = 2.5, most: float = 3600.0) -> float:
        """Unix seconds from which on the signal has been beyond `threshold` scales; now where it is not."""
        row, signal = self[name].keys.get(key), NAMED[name]
        points = min(round(most / self.world.step), self.at + 1)
        if row is None or not points:
            return self.time
        looked, asked = min(NEWEST, points), (name, threshold)
        self._asked[asked] = self._asked.get(asked, 0) + 1
        if self._asked[asked] > OFTEN:
            if asked not in self._inside:
                self._inside[asked] = self._last_inside(signal, ALL, threshold, looked).tolist()
            last = self._inside[asked][row]
        else:
            last = int(self._last_inside(signal, slice(row, row + 1), threshold, looked)[0])
        if last < 0:  # most have been inside a few points ago
            looked = points
            last = int(self._last_inside(signal, slice(row, row + 1), threshold, looked)[0])
        return self.time - (looked - 1 - min(last + 1, looked - 1)) * self.world.step

    def _last_inside(self, signal: Signal, rows: slice, threshold: float, points: int) -> NDArray[np.intp]:
        """Which of the last points of each row is the last within `threshold` scales; −1 where none is."""
        found = self.past(signal.name, rows, points)
        level, scale = self.base.of(signal.name).of(signal.keys(self.world))[rows].T.astype(found.dtype)
        with np.errstate(invalid="ignore", divide="ignore"):
            inside = ~((found - level[:, None]) / scale[:, None] * (signal.bad or 1) > threshold) & np.isfinite(found)
        return np.where(inside.any(axis=1), points - 1 - inside[:, ::-1].argmax(axis=1), -1)

    @property
    def tenancies(self) -> Mapping[Service, list[int]]:
        """Rows of the tenants of each service."""
        return self.remembered.of(_by_service, self.world.tenants)

    @property
    def models(self) -> Mapping[Key, int]:
        """Rows of the services that have model servers."""
        return self.remembered.of(rows_of, inference(self.world).services)

    @property
    def stalls(self) -> Mapping[Service, list[int]]:
        """Rows of the stalls that each service suffers."""
        return self.remembered.of(_by_victim, self.world.stalls)

    @property
    def into(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead to each service."""
        return self.remembered.of(_by_server, self.world.edges)

    @property
    def out(self) -> Mapping[Service, list[int]]:
        """Rows of the edges that lead from each service."""
        return self.remembered.of(_by_client, self.world.edges)

    @property
    def callers(self) -> Mapping[Service, tuple[Service, ...]]:
        """Who calls each service directly, nobody outside the platform."""
        return self.remembered.of(_callers, self.world.edges)

    @property
    def callees(self) -> Mapping[Service, tuple[Service, ...]]:
        """Whom each service calls directly."""
        return self.remembered.of(_callees, self.world.edges)


def _by_service(tenants: Sequence[Tenant]) -> Mapping[Service, list[int]]:
    return grouped(tenant.service for tenant in tenants)


def _by_victim(stalls: Sequence[Stall]) -> Mapping[Service, list[int]]:
    return grouped(stall.victim for stall in stalls)


def _by_server(edges: Sequence[Edge]) -> Mapping[Service, list[int]]:
    return grouped(edge.server for edge in edges)


def _by_client(edges: Sequence[Edge]) -> Mapping[Service, list[int]]:
    return grouped(edge.client for edge in edges)


def _callers(edges: Sequence[Edge]) -> Mapping[Service, tuple[Service, ...]]:
    inside = [edge for edge in edges if edge.connection != "virtual_node"]
    found = _by_server(inside)
    return {server: tuple(dict.fromkeys(inside[row].client for row in rows)) for server, rows in found.items()}


def _callees(edges: Sequence[Edge]) -> Mapping[Service, tuple[Service, ...]]:
    inside = [edge for edge in edges if edge.connection != "virtual_node"]
    found = _by_client(inside)
    return {client: tuple(dict.fromkeys(inside[row].server for row in rows)) for client, rows in found.items()}


def recent(values: Floats, at: int, points: int = RECENT) -> Floats:
    """The median of the last `points` columns up to `at`, per row; NaN where none has a value."""
    return median(values[:, max(0, at - points + 1) : at + 1])
