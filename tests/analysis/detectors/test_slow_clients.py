"""A client that waits for itself, load that was carried before, and retries of failures are no fault of others."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.detectors.platform import (
    ASK,
    BATCH,
    FEED,
    FRONT,
    HOSTS,
    IN,
    QUERY,
    STORE,
    Changes,
    Shape,
    point,
    since,
)
from tests.analysis.detectors.test_detectors import NOW, slow
from tests.analysis.detectors.test_outage import with_resource
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.baseline.carried_load import beyond_carried
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.model.incident import Cause


def shop(**slow: Served) -> Platform:
    """Two services with the same cache and database, which only they measure."""
    quick = Served(rate=20.0, p95=0.005)
    calls = {(name, store): quick for name in ("cart", "orders") for store in ("cache", "postgres")}
    calls |= {("cart", name): served for name, served in slow.items()}
    return Platform(
        services={"cart": Served(p95=step(0.02, 2.0)), "orders": Served(p95=0.02)},
        calls={("user", "cart"): Served(p95=step(0.02, 2.0)), ("user", "orders"): Served(p95=0.02), **calls},
        unseen=frozenset({"cache", "postgres"}),
    )


SLOW = Served(rate=20.0, p95=step(0.005, 1.0))


@pytest.mark.parametrize(
    ("platform", "suspect"),
    [(shop(cache=SLOW, postgres=SLOW), "cart"), (shop(cache=SLOW), "cache")],
    ids=["a client that finds all stores slow", "a store that is slow for one client alone"],
)
def test_stores_are_not_the_root_cause_for_a_client_without_cpu(platform: Platform, suspect: str) -> None:
    found = [finding for finding in dependency(platform.point(later=20)) if finding.strength >= 0.5]

    assert {finding.suspect.service for finding in found} == {service(suspect)}


MAILER = Served(rate=10.0, p95=0.04, client=step(0.04, 0.4))
SLOW_TAIL = Served(rate=20.0, p95=0.005, p99=step(0.01, 1.0))
LONG = Served(rate=1.0, p95=30.0)


@pytest.mark.parametrize(
    ("platform", "suspect"),
    [
        (shop(postgres=SLOW_TAIL, cache=SLOW_TAIL), "cart"),
        (shop(postgres=SLOW_TAIL, cache=SLOW_TAIL, mailer=MAILER), "cart"),
        (shop(postgres=SLOW_TAIL, mailer=MAILER, audit=MAILER), "cart"),
        (shop(postgres=SLOW, cache=SLOW, model=LONG, report=LONG, export=LONG), "cart"),
        (shop(postgres=SLOW_TAIL, mailer=MAILER), "postgres"),
        (shop(postgres=SLOW_TAIL), "postgres"),
        (shop(postgres=SLOW_TAIL, mailer=replace(MAILER, client=None)), "postgres"),
    ],
    ids=[
        "the slowest calls to all stores",
        "and calls to a server that is normal",
        "calls to two servers that are normal, and to one store of two",
        "all stores, and calls that are too long to show it",
        "calls to half of the others",
        "the slowest calls to one store",
        "and none to a server",
    ],
)
def test_a_client_that_waits_for_itself_also_finds_normal_servers_slow(platform: Platform, suspect: str) -> None:
    """A throttled client gets CPU late to read an answer that its server sent in time."""
    found = [finding for finding in dependency(platform.point(later=20)) if finding.strength >= 0.5]

    assert {finding.suspect.service for finding in found} == {service(suspect)}


WAITING: Changes = {("edge_p95", QUERY): since(NOW, 0.03, 1.0), ("edge_p95", ASK): since(NOW, 8.6, 16)}
"""All calls of the front take longer for it than at their servers."""


def test_a_callee_that_fails_for_another_client_is_at_fault_although_one_waits_for_itself() -> None:
    """The store rejects writes, while the front has no CPU to read its answers."""
    rejected: Changes = {
        ("error_rate", STORE): since(NOW, 0, 0.5),
        ("edge_error_rate", FEED): since(NOW, 0, 0.9),
        ("rate", BATCH): 1,
        ("error_rate", BATCH): since(NOW, 0, 0.9),
    }

    strengths = {finding.service: finding.strength for finding in dependency(point({**WAITING, **rejected}))}

    assert strengths[STORE] >= 0.5
    assert strengths[BATCH] >= 0.5


@pytest.mark.parametrize(
    ("cpu", "has_counters", "cause"),
    [
        (math.nan, True, "dependency"),
        (since(NOW, 0.3, 0.9), True, "dependency"),
        (0.3, True, "network"),
        (math.nan, False, "network"),
    ],
    ids=["hosts lose no packets", "and it has no CPU", "and it has CPU", "hosts report no packets"],
)
def test_a_client_that_waits_in_all_calls_is_at_fault_unless_the_network_is_likelier(
    cpu: Shape | float, *, has_counters: bool, cause: Cause
) -> None:
    """A slow device before the client's host delays the same calls."""
    shown: Changes = {**WAITING, **slow(FRONT, 9, 17), ("edge_server", IN): since(NOW, 9, 17)}
    counters: Changes = {} if has_counters else {("retransmitted", host): math.nan for host in HOSTS}
    platform = with_resource({**shown, **counters}, FRONT, "cpu", cpu if callable(cpu) else lambda _: cpu)

    *_, last = states(State(time=platform.times[NOW - 2]), platform)

    assert [(incident.cause, incident.suspect.service) for incident in last.incidents] == [(cause, FRONT)]


def test_requests_that_were_carried_before_do_not_explain_slowness() -> None:
    def rate(peak: float) -> Platform:
        return Platform(
            services={"shop": Served(rate=lambda i: peak if i % 20 < 2 else 10.0 if i < 240 else 15.0)},
            calls={("user", "shop"): Served()},
        )

    assert beyond_carried(rate(16.0).point(later=20), service("shop")) < 0.1
    assert beyond_carried(rate(10.0).point(later=20), service("shop")) > 0.9


@pytest.mark.parametrize("seconds", [300.0, 600.0, 900.0])
def test_one_burst_at_coarse_steps_is_no_load_that_was_carried(seconds: float) -> None:
    """At 900 s, two hours are too few points to know."""
    platform = Platform(
        services={"shop": Served(rate=lambda i: 16.0 if i == 230 else 10.0 if i < 240 else 15.0)},
        calls={("user", "shop"): Served()},
    )

    assert beyond_carried(platform.point(later=2, seconds=seconds), service("shop")) > 0.9


@pytest.mark.parametrize("minutes", [20, 60, 120, 240])
def test_load_that_rose_for_hours_to_the_limit_was_not_carried(minutes: int) -> None:
    def rate(i: int) -> float:
        noise = float(np.random.default_rng(i).standard_normal())
        return (10.0 + 6.0 * min(1.0, max(0.0, (i - 1000) / (minutes * 6)))) * float(np.exp(0.03 * noise))

    limit = 1000 + int(minutes * 6 * 4 / 6)
    platform = Platform(
        services={"shop": Served(rate=rate, p95=step(0.4, 2.0, limit))},
        calls={("user", "shop"): Served()},
        points=limit + 30,
        at=limit,
    )

    assert beyond_carried(platform.point(later=20), service("shop")) > 0.8


def test_retries_of_failures_are_no_overload_of_the_failing_service() -> None:
    platform = Platform(
        services={
            "front": Served(failed=step(0.0, 0.4)),
            "model": Served(rate=step(10.0, 30.0), failed=step(0.0, 0.6)),
        },
        calls={
            ("user", "front"): Served(),
            ("front", "model"): Served(rate=step(10.0, 30.0), failed=step(0.0, 0.6)),
        },
    )

    strengths = {finding.suspect.service: finding.strength for finding in dependency(platform.point(later=20))}

    assert np.isclose(strengths[service("model")], 1.0, atol=0.2)
