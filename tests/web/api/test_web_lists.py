"""Lists of pairs, GPUs, pools, and incidents in JSON."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import (
    NOW,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.change import Change
from foreshock_dashboard.model.incident import (
    LaterCause,
    SuspectedCause,
)
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.incident_json import incident as incident_json
from foreshock_dashboard.web.state.placement import pairs


def test_the_change_that_is_the_cause_is_in_the_incident() -> None:
    item = contention_incident(contended())
    change = Change(item.since - 180, "deployment", service("embedder"), before="1.4.1", after="1.4.2", source="traces")
    assert incident_json(item)["suspect"].change is None
    reported = incident_json(replace(item, suspect=item.suspect._replace(change=change)))
    shown = reported["suspect"].change
    assert shown
    assert (shown.at, shown.before, shown.after) == (item.since - 180, "1.4.1", "1.4.2")
    assert shown.text == "embedder 1.4.1 → 1.4.2"


def test_contention_names_victim_aggressor_share_and_gpus() -> None:
    """The worst pair comes first, with every GPU that the two share."""
    worst = lists.contention(snapshot(contended()))["pairs"][0]
    assert (worst.victim, worst.aggressor) == ("embedder", "train-llm")
    assert worst.gpu_wait_ratio == pytest.approx(0.46)
    assert [gpu.gpu for gpu in worst.gpus] == ["host-0/gpu-0", "host-0/gpu-1"]


def test_a_later_cause_has_its_service_apart_from_its_words() -> None:
    """*Now* and *Cascade* put a link there."""
    item = contention_incident(contended())
    assert incident_json(item)["later"] is None
    lag = LaterCause(service("rag-api"), "scale_up_lag", SuspectedCause(service("gateway")), NOW - 100)
    later = incident_json(replace(item, later=lag))["later"]
    assert later is not None
    assert (later.service, later.cause, later.suspect, later.since) == ("rag-api", "scale_up_lag", "gateway", NOW - 100)
    assert later.text == "scale-up lag: new replicas are not ready, since 09:58:20 UTC"
    assert "".join(clause.text for clause in later.clauses) == later.text


def test_a_pair_of_an_incident_has_the_gpu_wait_on_its_gpus() -> None:
    """The figure of the pages: other GPUs that the two share do not pull it down."""
    world = contended()
    incident = contention_incident(world)
    incident = replace(incident, suspect=incident.suspect._replace(gpus=world.gpus[:1]))
    worst = lists.contention(snapshot(world, incident))["pairs"][0]
    assert [gpu.gpu for gpu in worst.gpus] == ["host-0/gpu-0"]
    assert worst.gpu_wait_ratio == worst.gpus[0].gpu_wait_ratio


def test_a_gpu_without_a_sample_does_not_pull_the_pair_down() -> None:
    """The mean is over the GPUs that have a reading; without any there is no figure."""
    world = contended()
    values = world.gpu_wait_by.copy()
    rows = [i for i, s in enumerate(world.gpu_wait_pairs) if s.affected == service("embedder")]
    values[rows[0], -1] = np.nan
    pair = next(p for p in pairs(replace(world, gpu_wait_by=values)) if p.victim == service("embedder"))
    assert pair.ratio == pytest.approx(0.46)
    values[rows, -1] = np.nan
    pair = next(p for p in pairs(replace(world, gpu_wait_by=values)) if p.victim == service("embedder"))
    assert pair.ratio is None


def test_a_gpu_lists_its_services() -> None:
    """Who runs where, with busy and waiting shares."""
    first = lists.gpus(snapshot(contended()))["gpus"][0]
    assert first.gpu == "host-0/gpu-0"
    assert {row.service for row in first.services} == {"embedder", "train-llm"}
    assert first.contended_ratio == pytest.approx(0.83)


def test_pools_have_what_each_tier_needs_and_where_they_meet() -> None:
    """By namespace, where no target reports tiers: here everything is of the one without a name."""
    result = lists.pools(healthy_world())
    assert [(row.tier, row.by) for row in result["tiers"]] == [("", "load")]
    assert result["tiers"][0].gpus == len({tenant.gpu for tenant in healthy_world().tenants})
    assert result["mixed"] == []
    gold = replace(
        healthy_world(), tier=tuple("gold" if who == service("embedder") else "" for who in healthy_world().services)
    )
    assert [row.gpu for row in lists.pools(gold)["mixed"]] == ["host-0/gpu-0", "host-0/gpu-1"]
    assert lists.pools(gold)["mixed"][0].tiers == {"": ["train-llm"], "gold": ["embedder"]}
    assert lists.pools(None) == {"tiers": [], "mixed": []}


def test_warnings_are_open_incidents_and_incidents_are_all() -> None:
    """One that is over is remembered but warns no more; the worst open one comes first."""
    world = contended()
    over = contention_incident(world, state="resolved")
    mild = replace(contention_incident(world, "reranker", "batch-eval", "warning"), since=NOW - 900)
    seen = snapshot(world, over, mild, replace(contention_incident(world), cascading=True))
    assert [w["severity"] for w in lists.incidents(seen, "open")["incidents"]] == ["critical", "warning"]
    assert [w["severity"] for w in lists.incidents(seen)["incidents"]] == ["critical", "warning", "critical"]
    assert [w["state"] for w in lists.incidents(seen)["incidents"]] == ["firing", "firing", "resolved"]
    first = lists.incidents(seen, "open")["incidents"][0]
    wanted = {"id", "severity", "state", "service", "suspect", "cause", "since", "summary", "evidence"}
    assert wanted | {"confidence", "quality"} <= first.keys()
    assert first["suspect"].gpus == ["host-0/gpu-0", "host-0/gpu-1"]
