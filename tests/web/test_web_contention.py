"""The Contention page says who waits for whom and what GPUs' time goes into; a pair has its evidence."""

from __future__ import annotations

import json
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
    calm,
    dark,
    draw,
    service,
    snapshot,
    starvation,
    starving,
)

from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.incident_summary import incident_sentence
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.contention.data import contention as contention_page
from foreshock_dashboard.web.pages.contention.data import headline, time_split, worst_first
from foreshock_dashboard.web.pages.contention.layout import PAGE
from foreshock_dashboard.web.state.placement import Pair


def contention(seen: Snapshot, victim: str = "", aggressor: str = "") -> Json:
    """The payload of the page, as JSON has it."""
    page: Json = json.loads(json.dumps(contention_page(seen, victim, aggressor), default=vars))
    return page


@pytest.mark.parametrize(
    ("world", "words"),
    [
        (
            starving(),
            (
                "embedder waits up to 46 % of its time for train-llm on 2 GPUs. "
                "Of 4 pairs that share GPUs, 4 wait; none is in an incident."
            ),
        ),
        (
            replace(calm(), stalled_by=np.zeros((8, POINTS))),
            "No service waits for another: 4 pairs share GPUs in peace.",
        ),
        (dark(), "Cannot tell: nothing says who waits for whom."),
        (bare(), "No GPU is known yet."),
    ],
)
def test_the_first_line_is_the_longest_wait_or_why_there_is_none(world: object, words: str) -> None:
    """Nothing known is not peace."""
    assert contention(snapshot(world))["headline"] == words  # type: ignore[arg-type]  # a World each
    assert headline((), ()) == "No two services share a GPU, so none can starve another."


def test_pairs_name_services_by_number_and_say_which_are_in_a_warning() -> None:
    """The page has each name once."""
    world = starving()
    body = contention(snapshot(world, starvation(world)))
    names = [name for name, _ in body["services"]]
    victim, aggressor, ratio, gpus, warned = body["pairs"][0]
    assert (names[victim], names[aggressor], gpus, warned) == ("embedder", "train-llm", 2, True)
    assert ratio == pytest.approx(0.46)
    assert [pair[4] for pair in body["pairs"][1:]] == [False] * 3
    assert body["headline"].endswith("Of 4 pairs that share GPUs, 4 wait.")


def test_who_answers_requests_comes_before_jobs_that_wait_longer() -> None:
    """Rows by who suffers most, columns by who makes those suffer; what jobs wait for comes last."""
    chat, search, job, other = map(service, ("chat", "search", "train", "eval"))
    waits = {(job, chat): 0.9, (job, other): 0.8, (search, job): 0.3, (chat, other): 0.2, (chat, search): None}
    found = [Pair(victim, aggressor, ratio, ()) for (victim, aggressor), ratio in waits.items()]
    assert worst_first(found, "victim", {chat, search}) == [search, chat, job]
    assert worst_first(found, "aggressor", {chat, search}) == [job, other, search, chat]
    world = starving()
    body = contention(snapshot(world))
    assert [body["services"][place][0] for place in (body["victims"][0], body["aggressors"][0])] == [
        "embedder",
        "train-llm",
    ]
    assert {body["services"][place][0] for place in body["jobs"]} == {"train-llm", "batch-eval"}


def test_the_time_of_a_gpu_is_useful_contended_or_idle() -> None:
    """They add up; time that several fight for is not useful; where nobody tells of contention none is claimed."""
    spent = time_split(starving())
    assert spent.contended[0] == pytest.approx(0.83 * 20 / 30)
    assert spent.useful[4] > 0
    assert np.allclose(spent.useful + np.nan_to_num(spent.contended) + spent.idle, 1.0)
    blind = time_split(dark())
    assert np.isnan(blind.contended).all()
    assert np.isnan(blind.idle).all()


def test_gpus_are_ranked_by_waiters_times_wait() -> None:
    """The one where most is lost comes first, with who is on it; no wait known is no zero."""
    world = starving()
    stalled = world.stalled.copy()
    for i, tenant in enumerate(world.tenants):
        stalled[i, -1] = 0.4 if tenant.gpu == world.gpus[1] else 0.0
    first = contention(snapshot(replace(world, stalled=stalled)))["gpus"][0]
    assert (first["gpu"], first["waiters"], first["wait"]) == ("host-0/gpu-1", 2, pytest.approx(0.8))
    assert [one["service"] for one in first["services"]] == ["train-llm", "embedder"]
    assert contention(snapshot(dark()))["gpus"][0]["wait"] is None


def test_tiers_meet_on_gpus_of_pools() -> None:
    """Counted by tier and pool, with those that carry both."""
    world = calm()
    told = tuple("batch" if name.name in ("train-llm", "batch-eval") else "live" for name in world.services)
    pool = tuple("a" if gpu.host == "host-0" else "b" for gpu in world.gpus)
    body = contention(snapshot(replace(world, tier=told, pool=pool)))
    assert body["tiers"] == {
        "tiers": ["batch", "live"],
        "pools": ["a", "b"],
        "cells": [[[4, 4], [10, 0]], [[6, 4], [12, 0]]],
        "mixed": 4,
        "configured": True,
    }
    assert [(row["name"], row["gpus"]) for row in body["groups"]["rows"]] == [("a", 8), ("b", 24)]
    assert contention(snapshot(world))["tiers"]["mixed"] == 0


def test_an_open_pair_says_what_its_incident_says() -> None:
    """And where there is none, what its figures say."""
    world = starving()
    item = starvation(world)
    told = contention(snapshot(world, item), "embedder", "train-llm")["pair"]
    assert told["sentence"] == incident_sentence(item)
    assert told["incident"]["id"] == item.id
    assert [row["gpu"] for row in told["gpus"]] == ["host-0/gpu-0", "host-0/gpu-1"]
    assert told["gpus"][0]["aggressor_busy"] == pytest.approx(0.72)
    alone = contention(snapshot(world), "embedder", "train-llm")["pair"]
    assert alone["incident"] is None
    assert alone["sentence"].startswith(
        "embedder waits for train-llm up to 46 % of its time on the 2 GPUs they share; its"
    )


@pytest.mark.parametrize(
    ("aggressor", "words"),
    [("vllm-8b", "embedder and vllm-8b share no GPU."), ("nobody", "No service is called nobody.")],
)
def test_a_pair_that_is_none_says_why(aggressor: str, words: str) -> None:
    """Links outlive what they point to."""
    assert contention(SCENES["starving"](), "embedder", aggressor)["pair"]["sentence"] == words


def test_golden_charts_of_a_pair(golden: Callable[[str, str], None]) -> None:
    """Waiting, slowness and use of the shared GPUs, over fifteen minutes with the first sign marked."""
    charts = ("pair-wait", "pair-slow", "pair-use")
    drawn = [draw(PAGE, chart, SCENES["starving"](), victim="embedder", aggressor="train-llm") for chart in charts]
    for figure in drawn:
        for trace in figure["data"]:
            del trace["x"][6:], trace["y"][6:]
    golden("web-pair.json", json.dumps(drawn, indent=1) + "\n")


def test_a_chart_without_anything_to_show_says_why() -> None:
    """Two that share nothing; a victim that serves nobody."""
    for chart in ("pair-wait", "pair-use"):
        apart = draw(PAGE, chart, SCENES["calm"](), victim="embedder", aggressor="vllm-8b")
        assert "share no GPU" in json.dumps(apart)
    idle = draw(PAGE, "pair-slow", SCENES["calm"](), victim="train-llm", aggressor="embedder")
    assert "had no requests" in json.dumps(idle)


def test_traces_of_a_pair_are_asked_of_the_victim_alone(caller: Caller, hub: FakeHub) -> None:
    """Of its slowest, in the range; somebody unknown is 404."""
    found = caller.get(f"/api/pages/contention/traces?victim=embedder&aggressor=train-llm&start={NOW - 600}&end={NOW}")
    assert found.status_code == 200
    asked = hub.traces.asked[-1]
    assert (str(asked.service), asked.order, asked.start, asked.end) == ("embedder", "slowest", NOW - 600, NOW)
    assert found.json()["looked_at"] == min(
        40, sum("embedder" in str(row.services) for row in hub.traces.search(asked))
    )
    assert caller.get("/api/pages/contention/traces?victim=embedder").status_code == 404
    wrong = caller.get("/api/pages/contention/traces?victim=embedder&aggressor=train-llm&start=now&end=now-5m")
    assert (wrong.status_code, "exchange them" in wrong.json()["error"]) == (400, True)


def test_the_page_follows_its_parameters_and_the_past(caller: Caller) -> None:
    """A pair by bare names; an earlier instant has its own figures and none of what came later."""
    body = caller.get("/api/pages/contention?victim=embedder&aggressor=train-llm").json()
    assert body["pair"]["victim"] == "embedder"
    assert body["topology"] == caller.get("/api/topology").json()["id"]
    past = caller.get(f"/api/pages/contention?victim=embedder&aggressor=train-llm&at={NOW - 400}").json()
    assert (past["data_time"], past["pair"]["incident"]) == (NOW - 400, None)
    assert past["pair"]["ratio"] == pytest.approx(0.01)
    assert caller.get("/api/pages/contention?victm=embedder").status_code == 400
    quiet = Caller(create_app(FakeHub(SCENES["error"]()), version="0")).get("/api/pages/contention").json()
    assert (quiet["ready"], quiet["error"][:10]) == (False, "prometheus")
