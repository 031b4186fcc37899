"""All kinds of faults and look-alikes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from foreshock_lab.faults.behaviors import RetryStorm, behavior, early_return
from foreshock_lab.faults.gpu import GpuNeighbor, without_gpu
from foreshock_lab.faults.injection import FaultKind
from foreshock_lab.faults.network import NameFailure, PacketDelay, PacketLoss
from foreshock_lab.faults.processes import ClockSkew, Hang, Loss, crashes, rollout, scrape_gap
from foreshock_lab.faults.resources import CpuHog, CpuLimit, FullDisk, MemoryLeak
from foreshock_lab.faults.stores import cache_flush, cache_stall, table_lock
from foreshock_lab.faults.traffic import LongerRequests, Surge

GROWS_SECONDS = 180.0
"""Time in which a fault develops."""
HOLDS_SECONDS = 45.0
"""Time at its full amount thereafter."""

growing = partial(FaultKind, develops_seconds=GROWS_SECONDS, holds_seconds=HOLDS_SECONDS)
"""A kind that develops."""
SQL = "select count(*) from generate_series(1, {rows:.0f})"
"""A query whose work grows with its rows, as a sequential scan's does."""

KINDS: Mapping[str, FaultKind] = {
    kind.name: kind
    for kind in (
        growing(
            "cpu-hog", "", "times the CPU limit", (0.5, 1, 3), "called", CpuHog,
            "A busy process runs in the cgroup of each replica, whose limit is 1.5 times its normal CPU use.",
        ),
        growing(
            "cpu-limit", "", "times the normal CPU use", (1.1, 0.8, 0.5), "called", CpuLimit,
            "The CPU quota of the cgroup of each replica falls.", begin=4.0,
        ),
        growing(
            "memory-leak", "", "MiB per request", (0.3, 0.6, 1.5), "called", MemoryLeak,
            "Each request leaves memory behind; at the limit of the cgroup the kernel kills the process, and it starts "
            "again.", begin=0.3,
        ),
        growing(
            "slow-handler", "dependency", "seconds", (0.15, 0.4, 1.2), "called",
            behavior(lambda seconds: {"delay_seconds": seconds}),
            "Each request of the service waits.",
        ),
        growing(
            "busy-handler", "dependency", "CPU seconds", (0.05, 0.1, 0.25), "called",
            behavior(lambda seconds: {"cpu_seconds": seconds}),
            "Each request of the service computes for longer.",
        ),
        growing(
            "failing-handler", "dependency", "share of requests", (0.1, 0.3, 0.8), "called",
            behavior(lambda share: {"error_ratio": share}),
            "A share of the requests is answered with status 500.",
        ),
        FaultKind(
            "exception", "dependency", "share of requests", (0.1, 0.3, 0.8), "called",
            behavior(lambda share: {"exception_ratio": share}),
            "A branch of the handler raises an exception, which the span records.",
        ),
        FaultKind(
            "early-return", "change", "share of requests", (0.1, 0.3, 0.8), "caller", early_return,
            "The handler no longer calls other services, and answers a share of the requests with an error.",
        ),
        FaultKind(
            "bad-deploy", "change", "seconds", (0.15, 0.4, 1.2), "called",
            rollout("2", lambda seconds: {"delay_seconds": seconds, "error_ratio": min(0.3, seconds / 4)}),
            "The replicas restart one after another as version 2, which is slow and fails now and then; the end is a "
            "rollback.",
        ),
        FaultKind(
            "crash-loop", "", "seconds until a crash", (20, 8, 3), "called", crashes,
            "All replicas are killed (SIGKILL) that long after each start, and start again with a growing backoff.",
        ),
        FaultKind(
            "hang", "", "replicas", (1, 1, 8), "called", Hang,
            "Replicas stop (SIGSTOP) while their connections stay open.",
        ),
        FaultKind(
            "replicas-gone", "", "", (0, 0, 0), "called", Loss,
            "All replicas are killed and do not start again.",
        ),
        growing(
            "table-lock", "dependency", "share of time", (0.1, 0.3, 0.8), "postgres", table_lock,
            "A transaction locks all tables of PostgreSQL for a share of every 10 s.", root_cause="postgres",
        ),
        growing(
            "slow-query", "dependency", "rows", (3e5, 1e6, 4e6), "postgres",
            behavior(lambda rows: {"query_sql": SQL.format(rows=rows)}),
            "Queries of the service scan more and more rows in PostgreSQL.", begin=1.0,
        ),
        FaultKind(
            "query-fan-out", "change", "queries in place of one", (20, 60, 150), "postgres",
            behavior(lambda count: {"query_repeat": round(count)}),
            "The service repeats each query, as an ORM does that loads items one by one.",
        ),
        growing(
            "pool-exhaustion", "", "seconds", (0.1, 0.3, 1.0), "postgres",
            behavior(lambda seconds: {"hold_connection_seconds": seconds}),
            "Requests keep their connection of the pool for longer than their query takes.",
        ),
        FaultKind(
            "cache-flush", "dependency", "times a minute", (6, 20, 120), "valkey", cache_flush,
            "All keys of Valkey are deleted again and again.", root_cause="valkey",
        ),
        growing(
            "cache-stall", "dependency", "share of time", (0.1, 0.3, 0.8), "valkey", cache_stall,
            "Valkey does not answer for a share of every 10 s (CLIENT PAUSE).", root_cause="valkey",
        ),
        growing(
            "packet-loss", "network", "share of packets", (0.02, 0.08, 0.25), "network", PacketLoss,
            "The kernel drops packets to and from the service (nftables), so that TCP retransmits.",
        ),
        growing(
            "packet-delay", "network", "seconds", (0.04, 0.12, 0.4), "network", PacketDelay,
            "Packets to the service wait in a netfilter queue.",
        ),
        FaultKind(
            "name-failure", "network", "", (1, 1, 1), "network", NameFailure,
            "The name of the service resolves no longer, and its open connections are closed.",
        ),
        FaultKind(
            "short-timeout", "change", "seconds", (0.1, 0.05, 0.02), "caller",
            behavior(lambda seconds: {"timeout_seconds": seconds}),
            "The timeout of calls to other services is too short.",
        ),
        FaultKind(
            "retry-storm", "retry_storm", "retries", (2, 4, 8), "caller", RetryStorm,
            "The service retries after 0.3 s, and each request of its callee takes CPU time, so that it cannot carry "
            "the retries.",
        ),
        growing(
            "traffic-surge", "overload", "times the requests", (3, 6, 10), "users", Surge,
            "Users send more requests.", begin=1.0,
        ),
        growing(
            "longer-requests", "overload", "times the tokens", (2, 4, 8), "users", LongerRequests,
            "Prompts and outputs of users become longer.", begin=1.0,
        ),
        growing(
            "disk-full", "", "share of the free space", (1.0, 1.2, 1.5), "postgres", FullDisk,
            "Something else fills the volume of PostgreSQL, and the log of its writes (WAL) finds no room.",
            root_cause="postgres",
        ),
        growing(
            "gpu-contention", "gpu_contention", "share of time", (0.3, 0.6, 0.95), "called", GpuNeighbor,
            "A process of another service computes on the same GPU.", unavailable=without_gpu,
        ),
        FaultKind(
            "restart", "", "", (0, 0, 0), "called", rollout(),
            "The replicas restart one after another.", lookalike=True,
        ),
        FaultKind(
            "harmless-deploy", "", "", (0, 0, 0), "called", rollout("2"),
            "The replicas restart one after another as version 2, which behaves the same.", lookalike=True,
        ),
        growing(
            "absorbed-surge", "", "times the requests", (1.1, 1.2, 1.3), "users", Surge,
            "Users send a few more requests.", begin=1.0, lookalike=True,
        ),
        FaultKind(
            "scrape-gap", "", "seconds", (20, 45, 90), "users", scrape_gap,
            "Prometheus stops (SIGSTOP) that long.", lookalike=True,
        ),
        FaultKind(
            "clock-skew", "", "seconds", (0.2, 1, 10), "called", ClockSkew,
            "The replicas restart with clocks that are ahead (libfaketime), which shows in their spans.",
            lookalike=True,
        ),
    )
}  # fmt: skip
