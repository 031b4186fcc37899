"""The Contention page shows GPU wait by pair and the use of GPU time; a pair has its evidence."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.web.caller import Caller
from tests.web.worlds import (
    NOW,
    POINTS,
    SCENES,
    FakeHub,
    bare,
    contended,
    contention_incident,
    dark,
    draw,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.incident import Evidence, SuspectedCause
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.world import World
from foreshock_dashboard.render import incident_summary
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.units import duration, percent
from foreshock_dashboard.render.words.panels import EMPTY
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.cascade.data import cascade
from foreshock_dashboard.web.pages.contention.data import contention as contention_page
from foreshock_dashboard.web.pages.contention.data import gpu_time, headline, worst_first
from foreshock_dashboard.web.pages.contention.layout import PAGE
from foreshock_dashboard.web.pages.fleet.gpu import HardwareHealth, gpu_detail
from foreshock_dashboard.web.panels.vitals import gpu_wait_tile
from foreshock_dashboard.web.state.numbers import last, last_median
from foreshock_dashboard.web.state.placement import Pair, pairs, tenant_time


def contention(seen: Snapshot, victim: str = "", aggressor: str = "") -> Json:
    """The payload of the page, as JSON has it."""
    page: Json = json.loads(json.dumps(contention_page(seen, victim, aggressor), default=vars))
    return page


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (contended(), "embedder waits on train-llm 46% of the time (mean of 2 GPUs)."),
        (
            replace(healthy_world(), gpu_wait_by=np.zeros((8, POINTS))),
            "No GPU contention: 4 pairs of services share GPUs without waiting.",
        ),
        (dark(), "No GPU wait data."),
        (bare(), EMPTY["gpus"]),
    ],
)
def test_the_headline_is_the_longest_wait_or_why_there_is_none(world: World, words: str) -> None:
    """No data is not the same as no wait."""
    assert contention(snapshot(world))["headline"] == words
    assert joined_text(headline(snapshot(healthy_world()), healthy_world(), (), None)) == "No services share a GPU."


def test_gpu_wait_is_that_of_the_last_half_minute_everywhere() -> None:
    """A wait that just rose is not averaged with the time before."""
    world = contended()
    by, wait = (np.where(np.arange(POINTS) < POINTS - 1, 0.0, rows) for rows in (world.gpu_wait_by, world.gpu_wait))
    seen = snapshot(replace(world, gpu_wait_by=by, gpu_wait=wait))
    assert seen.world is not None
    pair = pairs(seen.world)[0]
    gpu, ratio = pair.gpus[0]
    panel = gpu_detail(seen, gpu.label, HardwareHealth())
    (row,) = (row for row in panel["pairs"] if row.victim == str(pair.victim) and row.aggressor == str(pair.aggressor))
    assert row.wait == ratio
    assert max(tenant_time(seen.world)[1], key=lambda value: value or 0.0) == max(last(wait), key=lambda v: v or 0.0)


def test_the_wait_of_an_open_incident_is_dated_and_compared() -> None:
    world = contended()
    wait = Evidence("GPU wait", 0.46, 0.19, "ratio", NOW - 190, "embedder waiting on train-llm")
    item = replace(contention_incident(world), evidence=(wait,))
    words = contention(snapshot(world, item))["headline"]
    assert words.startswith("embedder waits on train-llm 46% of the time (baseline 19%, mean of 2 GPUs) since ")


def test_the_wait_of_no_incident_has_the_baseline_of_now_and_says_that_it_is_not_the_cause() -> None:
    """A reader need not ask whether the wait is a part of the incident above."""
    world = replace(contended(), times=np.arange(NOW - 30.0 * (POINTS - 1), NOW + 1, 30.0), step=30.0)
    seen = snapshot(
        world, replace(contention_incident(world), cause="overload", suspect=SuspectedCause(service("embedder")))
    )
    tile = gpu_wait_tile(seen, world)
    assert tile.who == "embedder waiting on train-llm (mean of 2 GPUs)"
    assert tile.limit is not None
    page, wait = contention(seen), f"46% of the time (baseline {percent(tile.limit)}, mean of 2 GPUs)."
    assert page["headline"] == f"embedder waits on train-llm {wait}"
    assert page["detail_clauses"][0]["text"] == "GPU wait is not the suspected cause of the open incident (overload)."
    (item,) = seen.incidents
    risk = replace(seen, incidents=(replace(item, summary=item.summary._replace(latent=True)),))
    assert contention(risk)["detail_clauses"] == []  # nothing is affected that could have a cause


def test_a_wait_at_its_baseline_is_called_normal() -> None:
    """A wait alone does not say whether it is one to act on; without a baseline, that is unknown."""
    long, short = ((30.0, "The wait is within its normal range."), (10.0, ""))
    for step, words in (long, short):
        world = replace(healthy_world(), times=np.arange(NOW - step * (POINTS - 1), NOW + 1, step), step=step)
        said = contention(snapshot(world))
        assert said["headline"].startswith("embedder waits on train-llm ")
        assert "".join(clause["text"] for clause in said["detail_clauses"]) == words


def test_pairs_have_services_by_index_and_their_role_in_an_open_incident() -> None:
    """The page has each name once; the pair in the other direction is not a second incident."""
    world = contended()
    body = contention(snapshot(world, contention_incident(world)))
    names = body["services"]
    victim, aggressor, ratio, gpus, role = body["pairs"][0]
    assert (names[victim], names[aggressor], gpus, role) == ("embedder", "train-llm", 2, "critical")
    assert ratio == pytest.approx(0.46)
    roles = {(names[pair[0]], names[pair[1]]): pair[4] for pair in body["pairs"][1:]}
    assert roles.pop(("train-llm", "embedder")) == "reverse"
    assert set(roles.values()) == {""}
    assert body["headline"].endswith(" of the time (mean of 2 GPUs).")


def test_missing_metrics_of_gpu_wait_are_listed() -> None:
    missing = (
        "gpu_service_wait_by_aggressor_seconds_total",
        "gpu_contended_seconds_total",
        "vllm:num_requests_waiting",
    )
    world = replace(healthy_world(), missing=missing)
    assert contention(snapshot(world))["missing"] == list(missing[:2])


def test_services_with_requests_come_before_batch_jobs_that_wait_longer() -> None:
    """Rows by the longest wait, columns by the wait that they cause; what only batch jobs wait on comes last."""
    chat, search, job, other = map(service, ("chat", "search", "train", "eval"))
    waits = {(job, chat): 0.9, (job, other): 0.8, (search, job): 0.3, (chat, other): 0.2, (chat, search): None}
    found = [Pair(victim, aggressor, ratio, ()) for (victim, aggressor), ratio in waits.items()]
    assert worst_first(found, "victim", {chat, search}) == [search, chat, job]
    assert worst_first(found, "aggressor", {chat, search}) == [job, other, search, chat]
    world = contended()
    body = contention(snapshot(world))
    assert [body["services"][place] for place in (body["victims"][0], body["aggressors"][0])] == [
        "embedder",
        "train-llm",
    ]
    assert {body["services"][place] for place in body["batch"]} == {"train-llm", "batch-eval"}


def test_gpu_time_is_uncontended_contended_or_idle() -> None:
    """The shares add up to 1; contended time is busy time; no data on contention is no contention."""
    time = gpu_time(contended())
    assert time.contended[0] == pytest.approx(0.83)
    assert time.uncontended[0] == pytest.approx(0.99 - 0.83)
    assert time.uncontended[4] > 0
    assert np.allclose(time.uncontended + np.nan_to_num(time.contended) + time.idle, 1.0)
    unknown = gpu_time(dark())
    assert np.isnan(unknown.contended).all()
    assert np.isnan(unknown.idle).all()


def test_gpus_are_ranked_by_the_share_of_time_that_they_are_contended() -> None:
    """Means of the last minute, as the busy time, each with its services, the busiest first; no data is not zero."""
    world = contended()
    ratios = world.contended.copy()
    ratios[:, -4:] = 0.0
    ratios[1, -4:] = 0.3, 0.5, 0.4, 0.4
    wait = world.gpu_wait.copy()
    wait[[tenant.gpu == world.gpus[1] for tenant in world.tenants], -4:] = 0.4
    first = contention(snapshot(replace(world, contended=ratios, gpu_wait=wait)))["gpus"][0]
    assert (first["gpu"], first["contended"]) == ("host-0/gpu-1", pytest.approx(0.4))
    assert [row["service"] for row in first["services"]] == ["train-llm", "embedder"]
    assert [row["wait"] for row in first["services"]] == [pytest.approx(0.4)] * 2
    assert contention(snapshot(dark()))["gpus"][0]["contended"] is None
    assert contention(snapshot(dark()))["gpus"][0]["services"][0]["wait"] is None


def test_gpus_are_counted_by_tier_and_pool() -> None:
    """With the number of those that several tiers share."""
    world = healthy_world()
    tier = tuple("batch" if name.name in ("train-llm", "batch-eval") else "live" for name in world.services)
    pool = tuple("a" if gpu.host == "host-0" else "b" for gpu in world.gpus)
    body = contention(snapshot(replace(world, tier=tier, pool=pool)))
    assert body["tiers"] == {
        "tiers": ["batch", "live"],
        "pools": ["a", "b"],
        "cells": [[[4, 4], [10, 0]], [[6, 4], [12, 0]]],
        "shared": 4,
        "configured": True,
    }
    assert [(row["name"], row["gpus"]) for row in body["groups"]["rows"]] == [("a", 8), ("b", 24)]
    assert contention(snapshot(world))["tiers"]["shared"] == 0


def test_an_open_pair_leads_with_the_headline_of_its_incident() -> None:
    """Without an incident, with a sentence of the matrix's values."""
    world = contended()
    item = contention_incident(world)
    pair = contention(snapshot(world, item), "embedder", "train-llm")["pair"]
    assert pair["summary"] == incident_summary.headline(item)
    assert pair["incident"]["id"] == item.id
    assert "".join(clause["text"] for clause in pair["incident"]["suspicion_clauses"]).startswith("Suspected cause: ")
    assert [row["gpu"] for row in pair["gpus"]] == ["host-0/gpu-0", "host-0/gpu-1"]
    assert pair["gpus"][0]["aggressor_busy"] == pytest.approx(0.72)
    alone = contention(snapshot(world), "embedder", "train-llm")["pair"]
    assert alone["incident"] is None
    assert re.fullmatch(
        r"embedder waits on train-llm 46 ?% of the time \(mean of 2 GPUs\)\. p95 [\d.]+ m?s \(median [\d.]+ m?s\)\.",
        alone["summary"],
    )


def test_the_pair_of_an_incident_has_the_wait_of_the_incident_s_gpus() -> None:
    """As *Now* has it: in the matrix, the pair, its chart, and on the map of *Cascade*."""
    world, pair = contended(), (service("embedder"), service("train-llm"))
    waits = world.gpu_wait_by.copy()
    first = next(row for row, key in enumerate(world.gpu_wait_pairs) if key[1:] == pair)
    waits[first] = 0.62
    world, item = replace(world, gpu_wait_by=waits), contention_incident(world)
    gpu = world.gpu_wait_pairs[first].gpu
    seen = snapshot(world, replace(item, suspect=item.suspect._replace(gpus=(gpu,))))
    page = contention(seen, "embedder", "train-llm")
    index = {name: i for i, name in enumerate(page["services"])}
    (row,) = (row for row in page["pairs"] if row[:2] == [index["embedder"], index["train-llm"]])
    assert row[2:] == [pytest.approx(0.62), 1, "critical"]
    assert (page["pair"]["ratio"], [each["gpu"] for each in page["pair"]["gpus"]]) == (pytest.approx(0.62), [gpu.label])
    assert set(draw(PAGE, "pair-wait", seen, victim="embedder", aggressor="train-llm")["data"][0]["y"]) == {0.62}
    (link,) = (link for link in cascade(seen, NOW - 900)["gpu_waits"] if link[:2] == ["embedder", "train-llm"])
    assert link[2:] == [pytest.approx(0.62), 1]


def test_the_p95_of_a_pair_is_the_median_that_the_other_pages_show() -> None:
    """A spike in the newest sample alone does not show."""
    world = contended()
    row = [str(service) for service in world.services].index("embedder")
    p95 = world.red.p95.copy()
    p95[row, -1] *= 100.0
    spike = replace(world, red=replace(world.red, p95=p95))
    before, after = (contention(snapshot(seen), "embedder", "train-llm")["pair"]["summary"] for seen in (world, spike))
    shown, spiked = (last_median(seen.red.p95)[row] or 0.0 for seen in (world, spike))
    assert 0.0 < spiked < 2.0 * shown
    assert f"p95 {duration(shown)} (" in before
    assert f"p95 {duration(spiked)} (" in after


@pytest.mark.parametrize(
    ("aggressor", "words"),
    [("vllm-8b", "embedder and vllm-8b share no GPU."), ("absent", "Unknown service absent.")],
)
def test_a_pair_that_does_not_exist_has_a_reason(aggressor: str, words: str) -> None:
    """Links outlive what they point to."""
    assert contention(SCENES["contended"](), "embedder", aggressor)["pair"]["summary"] == words


def test_golden_charts_of_a_pair(golden: Callable[[str, str], None]) -> None:
    """GPU wait, latency, and use of the shared GPUs over fifteen minutes, with the first anomaly marked."""
    charts = ("pair-wait", "pair-latency", "pair-use")
    drawn = [draw(PAGE, chart, SCENES["contended"](), victim="embedder", aggressor="train-llm") for chart in charts]
    for figure in drawn:
        for trace in figure["data"]:
            del trace["x"][6:], trace["y"][6:]
    golden("web-pair.json", json.dumps(drawn, indent=1) + "\n")


def test_a_chart_without_data_has_a_reason() -> None:
    """Services that share no GPU; a victim without requests; GPUs without data."""
    for chart in ("pair-wait", "pair-use"):
        apart = draw(PAGE, chart, SCENES["healthy"](), victim="embedder", aggressor="vllm-8b")
        assert "share no GPU" in json.dumps(apart)
    idle = draw(PAGE, "pair-latency", SCENES["healthy"](), victim="train-llm", aggressor="embedder")
    assert "No requests to train-llm in this time range." in json.dumps(idle)
    world = contended()
    absent = {
        name: np.full_like(getattr(world, name), np.nan) for name in ("busy", "contended", "gpu_wait_by", "gpu_wait")
    }
    for chart, words in (("pair-wait", "No data for GPU wait in"), ("pair-use", "No data for GPU use in")):
        blind = draw(PAGE, chart, snapshot(replace(world, **absent)), victim="embedder", aggressor="train-llm")
        assert words in json.dumps(blind)


def test_traces_of_a_pair_are_those_of_the_victim(caller: Caller, hub: FakeHub) -> None:
    """The slowest in the range; an unknown service is 404."""
    found = caller.get(f"/api/pages/contention/traces?victim=embedder&aggressor=train-llm&start={NOW - 600}&end={NOW}")
    assert found.status_code == 200
    asked = hub.traces.asked[-1]
    assert (str(asked.service), asked.order, asked.start, asked.end) == ("embedder", "slowest", NOW - 600, NOW)
    assert found.json()["examined"] == min(40, sum("embedder" in str(row.services) for row in hub.traces.search(asked)))
    assert caller.get("/api/pages/contention/traces?victim=embedder").status_code == 404
    wrong = caller.get("/api/pages/contention/traces?victim=embedder&aggressor=train-llm&start=now&end=now-5m")
    assert (wrong.status_code, "Swap them" in wrong.json()["error"]) == (400, True)


def test_the_page_follows_its_parameters_and_the_past(caller: Caller) -> None:
    """A pair by bare names; an earlier instant has its own values and nothing that came later."""
    body = caller.get("/api/pages/contention?victim=embedder&aggressor=train-llm").json()
    assert body["pair"]["victim"] == "embedder"
    assert body["topology"] == caller.get("/api/topology").json()["id"]
    past = caller.get(f"/api/pages/contention?victim=embedder&aggressor=train-llm&at={NOW - 400}").json()
    assert (past["data_time"], past["pair"]["incident"]) == (NOW - 400, None)
    assert past["pair"]["ratio"] == pytest.approx(0.01)
    assert caller.get("/api/pages/contention?victm=embedder").status_code == 400
    quiet = Caller(create_app(FakeHub(SCENES["error"]()), version="0")).get("/api/pages/contention").json()
    assert (quiet["ready"], quiet["error"][:10]) == (False, "prometheus")
