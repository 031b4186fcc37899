"""The table of signals compared with a baseline; detection, evidence, and explanations share it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from foreshock_dashboard.model.types import Floats
from foreshock_dashboard.model.world import Red, World
from foreshock_dashboard.model.world_sections import Capacity, Hardware, ModelServers, Network, Resources
from foreshock_dashboard.stats.robust import moving_average

Key = Hashable
At = tuple[slice | list[int], slice]
"""Index of rows and columns."""
ALL_ROWS = slice(None)


def model_servers(world: World) -> ModelServers:
    """Model servers of the World; empty where there are none."""
    return world.model_servers or ModelServers.empty(len(world.times))


def capacity(world: World) -> Capacity:
    """Replicas and quotas of the World; empty where unknown."""
    return world.capacity or Capacity.empty(len(world.times))


def network(world: World) -> Network:
    """Host networks of the World; empty where unknown."""
    return world.network or Network.empty(len(world.times))


def hardware(world: World) -> Hardware:
    """GPU health of the World; NaN where unknown."""
    return world.hardware or Hardware.empty(len(world.gpus), len(world.times))


def resources(world: World) -> Resources:
    """Resources of services; empty where unknown."""
    return world.resources or Resources.empty(len(world.times))


class Signal(NamedTuple):
    """A quantity measured of every entity of one kind.

    Attributes:
        name: identifier.
        text: description for people.
        unit: unit of the values.
        keys: entities, by row.
        values: values of some rows at some grid points, shape (rows, points).
        log: whether values are compared as ratios, else as differences.
        floor: smallest scale, in logarithms or in the signal's unit.
        worse: +1 if more is worse, -1 if less is worse, 0 for a load signal.
        unsmoothed: whether the newest point alone is the current value.
        lower_bound: lower confidence bound of estimated values; None where unknown.
        tail: name of the signal of the slowest requests, "" where slower ones alone are noise as well.
        offset: what the values have on top of the quantity, so that its logarithm exists.
    """

    name: str
    text: str
    unit: str
    keys: Callable[[World], Sequence[Key]]
    values: Callable[[World, At], Floats]
    log: bool
    floor: float
    worse: int = 1
    unsmoothed: bool = False
    lower_bound: Callable[[World, At], Floats | None] | None = None
    tail: str = ""
    offset: float = 0.0


def _excess(world: World, at: At) -> Floats:
    """Client-side p95 of a call over the server-side p95."""
    server = world.server_p95[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(server > 0, world.calls.p95[at] / server, np.nan)


def _lower_bound(requests: Red, at: At) -> Floats | None:
    return None if requests.lower_bound is None else requests.lower_bound[at].astype(np.float64)  # half precision


def _server_lower_bound(world: World, at: At) -> Floats | None:
    """Scaled from the client's bound: the requests, and so the sampling noise, are the same."""
    bound = _lower_bound(world.calls, at)
    with np.errstate(invalid="ignore", divide="ignore"):
        return None if bound is None else bound / world.calls.p95[at] * world.server_p95[at]


def _flight(world: World, at: At) -> Floats:
    """Requests in flight by Little's law, L = λ · W, with the median for the mean."""
    return world.red.rate[at] * world.red.p50[at]


def _waiting(world: World, at: At) -> Floats:
    return model_servers(world).waiting[at] + 1.0


def _held(world: World, at: At) -> Floats:
    """KV cache per running request, mean of a minute: a measure of request length (prompt and answer)."""
    servers, (rows, columns) = model_servers(world), at
    first, last, _ = columns.indices(len(world.times))
    wide = slice(max(0, first - world.points(60.0)), last)
    per_replica = servers.running[:, wide] / servers.reporting_replicas(wide)
    running, cache = (
        moving_average(values[rows], world.step)[:, first - wide.start :]
        for values in (per_replica, servers.cache[:, wide])
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(running > 0, cache / running, np.nan)


def _tokens(world: World, at: At) -> Floats:
    """Generated tokens, mean of three minutes, because user traffic arrives in bursts of minutes."""
    rows, columns = at
    return moving_average(model_servers(world).generated_tokens[rows], world.step, 180.0)[:, columns]


def _running(world: World, at: At) -> Floats:
    servers = model_servers(world)
    return servers.running[at] + np.nan_to_num(servers.waiting[at]) + 1.0


def _ready(world: World, at: At) -> Floats:
    replicas = capacity(world)
    wanted = replicas.wanted[at]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(wanted > 0, replicas.ready[at] / wanted, np.nan)


def _field(section: Callable[[World], object], name: str) -> Callable[[World, At], Floats]:
    """Values of one array of a section of the World."""
    return lambda world, at: getattr(section(world), name)[at]


def _services(world: World) -> Sequence[Key]:
    return world.services


def _edges(world: World) -> Sequence[Key]:
    return world.edges


def _models(world: World) -> Sequence[Key]:
    return model_servers(world).services


def _resource(name: str, text: str, unit: str, floor: float, worse: int = 1, *, unsmoothed: bool = False) -> Signal:
    """A signal of a resource, compared as a difference."""
    return Signal(
        name, text, unit, lambda w: resources(w).services, _field(resources, name), False, floor, worse, unsmoothed
    )


def _gpus(world: World) -> Sequence[Key]:
    return world.gpus


def _of_operations() -> Iterator[Signal]:
    """Latencies and errors by operation, which the World has in half precision."""

    def values(name: str) -> Callable[[World, At], Floats]:
        return lambda world, at: getattr(world.operation_red, name)[at].astype(np.float64)

    def operations(world: World) -> Sequence[Key]:
        return world.operations

    def bound(world: World, at: At) -> Floats | None:
        return _lower_bound(world.operation_red, at)

    yield Signal("operation_rate", "request rate", "req/s", operations, values("rate"), True, 0.15, 0)
    yield Signal("operation_p50", "p50", "s", operations, values("p50"), True, 0.10)
    yield Signal("operation_p95", "p95", "s", operations, values("p95"), True, 0.10, lower_bound=bound)
    yield Signal("operation_error_rate", "error rate", "ratio", operations, values("error_rate"), False, 0.004)


SIGNALS: tuple[Signal, ...] = (
    Signal("rate", "request rate", "req/s", _services, lambda w, at: w.red.rate[at], True, 0.15, 0),
    Signal("p50", "p50", "s", _services, lambda w, at: w.red.p50[at], True, 0.10),
    Signal(
        "p95",
        "p95",
        "s",
        _services,
        lambda w, at: w.red.p95[at],
        True,
        0.10,
        lower_bound=lambda w, at: _lower_bound(w.red, at),
        tail="p99",
    ),
    Signal("p99", "p99", "s", _services, lambda w, at: w.red.p99[at], True, 0.10),
    Signal("error_rate", "error rate", "ratio", _services, lambda w, at: w.red.error_rate[at], False, 0.004),
    Signal("flight", "requests in flight (rate × p50)", "", _services, _flight, True, 0.15),
    Signal("edge_rate", "call rate", "req/s", _edges, lambda w, at: w.calls.rate[at], True, 0.15, 0),
    Signal(
        "edge_p95",
        "p95 (client side)",
        "s",
        _edges,
        lambda w, at: w.calls.p95[at],
        True,
        0.10,
        lower_bound=lambda w, at: _lower_bound(w.calls, at),
        tail="edge_p99",
    ),
    Signal("edge_p99", "p99 (client side)", "s", _edges, lambda w, at: w.calls.p99[at], True, 0.10),
    Signal(
        "edge_server",
        "p95 (server side)",
        "s",
        _edges,
        lambda w, at: w.server_p95[at],
        True,
        0.10,
        lower_bound=_server_lower_bound,
        tail="edge_p99",
    ),
    Signal("edge_error_rate", "call error rate", "ratio", _edges, lambda w, at: w.calls.error_rate[at], False, 0.004),
    *_of_operations(),
    Signal("excess", "client p95 over server p95", "", _edges, _excess, True, 0.15),
    Signal("attempts", "attempts per call", "", _edges, lambda w, at: w.attempts[at], False, 0.02),
    Signal("waiting", "queued requests", "", _models, _waiting, True, 0.35, offset=1.0),
    Signal("running", "requests running and queued", "", _models, _running, True, 0.20),
    Signal("cache", "KV cache usage", "ratio", _models, _field(model_servers, "cache"), False, 0.05),
    Signal("preempted", "preemptions", "1/s", _models, _field(model_servers, "preempted"), False, 0.02),
    Signal("queued", "queue time", "s", _models, _field(model_servers, "queued"), False, 0.1),
    Signal("first_token", "p95 time to first token", "s", _models, _field(model_servers, "first_token"), True, 0.15),
    Signal("per_token", "time per output token", "s", _models, _field(model_servers, "per_token"), True, 0.06),
    Signal("prompt", "prompt tokens", "1/s", _models, _field(model_servers, "prompt_tokens"), True, 0.2, 0),
    Signal("generated", "output tokens", "1/s", _models, _field(model_servers, "generated_tokens"), True, 0.2, 0),
    Signal("held", "KV cache per request", "ratio", _models, _held, True, 0.06),
    Signal("tokens", "output tokens (3 min mean)", "1/s", _models, _tokens, True, 0.06, 0),
    Signal("busy", "GPU time", "ratio", lambda w: w.tenants, lambda w, at: w.busy[at], False, 0.03, 0, True),
    Signal(
        "gpu_wait_by",
        "GPU wait",
        "ratio",
        lambda w: w.gpu_wait_pairs,
        lambda w, at: w.gpu_wait_by[at],
        False,
        0.03,
        1,
        True,
    ),
    Signal("utilization", "GPU utilization", "ratio", _gpus, lambda w, at: w.utilization[at], False, 0.05, 0, True),
    Signal("clock", "GPU clock", "ratio", _gpus, _field(hardware, "clock"), False, 0.03, -1),
    Signal("throttled", "throttled time", "ratio", _gpus, _field(hardware, "throttled"), False, 0.05),
    Signal("errors", "GPU errors", "1/s", _gpus, _field(hardware, "errors"), False, 0.001, 1, True),
    Signal(
        "ready",
        "ready replicas (share of desired)",
        "ratio",
        lambda w: capacity(w).services,
        _ready,
        False,
        0.05,
        -1,
    ),
    Signal("nic", "NIC utilization", "ratio", lambda w: network(w).hosts, _field(network, "used"), False, 0.05),
    Signal(
        "retransmitted",
        "TCP retransmit rate",
        "ratio",
        lambda w: network(w).hosts,
        _field(network, "retransmitted"),
        False,
        3e-3,
    ),
    _resource("cpu", "CPU time of limit", "ratio", 0.05),
    _resource("cpu_throttled", "throttled CPU periods", "ratio", 0.05),
    _resource("memory", "memory of limit", "ratio", 0.05),
    _resource("disk", "disk usage", "ratio", 0.05),
    _resource("files", "open file descriptors of limit", "ratio", 0.05),
    _resource("pool", "database connections of pool", "ratio", 0.1),
    _resource("pool_wait", "connection wait time", "s", 0.01),
    _resource("pool_pending", "requests waiting for a connection", "", 1.0),
    _resource("restarts", "container restarts", "1/s", 0.001, unsmoothed=True),
    _resource("oom_kills", "OOM kills", "1/s", 0.001, unsmoothed=True),
    _resource("up", "scrape targets up (share of all)", "ratio", 0.1, -1),
    Signal("dropped", "dropped packets", "1/s", lambda w: network(w).hosts, _field(network, "dropped"), False, 1.0),
)
RESOURCE_SIGNALS = (
    "cpu", "cpu_throttled", "memory", "disk", "files", "pool", "pool_wait", "pool_pending", "restarts", "oom_kills",
    "up",
)  # fmt: skip
"""Resource signals of a service: evidence that a fault is in the service itself."""
SIGNAL_BY_NAME: Mapping[str, Signal] = {signal.name: signal for signal in SIGNALS}


def transformed(signal: Signal, values: Floats) -> Floats:
    """Values as compared: logarithms for ratio signals."""
    if not signal.log:
        return values
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.log(np.where(values > 0, values, np.nan))
