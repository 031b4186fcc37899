"""A model server that is asked no more than usual, and falls behind all the same: what is said of it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.causes.made import (
    ANSWER,
    ASK,
    DIRECT,
    FRONT,
    GATEWAY,
    GPUS,
    IN,
    LLM,
    REPLICAS,
    STALLS,
    TENANTS,
    Bent,
    point,
    ramp,
    since,
    world,
)
from tests.analysis.causes.test_causes import NOW, STORM, WAITS, slow

from foreshock_dashboard.analysis.baseline.levels import baselines_at
from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.baseline.retry_amplification import request_rates
from foreshock_dashboard.analysis.detectors.client_timeout import client_timeout
from foreshock_dashboard.analysis.detectors.contention import gpu_contention
from foreshock_dashboard.analysis.detectors.demand import (
    demand,
    drained_shares,
    edge_growth,
    forwarded_calls,
    request_size_growth,
)
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.kv_cache import kv_cache_pressure
from foreshock_dashboard.analysis.detectors.provisioning_lag import provisioning_lag
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.detectors.retry_storm import retry_storms
from foreshock_dashboard.analysis.incidents.retrospective import retrospective
from foreshock_dashboard.analysis.incidents.triage import BRIEF_SECONDS, incident_candidates
from foreshock_dashboard.analysis.root_cause.rank import mean_ranking, rank_causes
from foreshock_dashboard.model.action import Action, Reason
from foreshock_dashboard.model.batching_law import Utilization
from foreshock_dashboard.model.incident import SuspectedCause
from foreshock_dashboard.render.action import action_text

FULL = Utilization(1.0, 0.0, 0.6, 0.0, 60.0, 0.9, (1.3, 0.8, 0.7), 0.5, 0.7)
"""Model servers with more at once than they carry, as fast per token as that explains."""
SLOWED = replace(FULL, slowdown=2.5, z=15.0)
"""The same, two and a half times as slow per token."""
LACKS: Bent = {("wanted", LLM): since(NOW, 2, 4), ("pending", LLM): since(NOW, 0, 2)}
DEPLOYED: Bent = {**WAITS, **LACKS, ("per_token", LLM): since(NOW, 0.02, 0.06), ("running", LLM): since(NOW, 20, 60)}
"""A new version takes three times as long per token; the autoscaler asks for more replicas."""
IMPATIENT: Bent = {
    **LACKS,
    ("edge_failed", ANSWER): since(NOW, 0, 0.4),
    ("attempts", ANSWER): since(NOW, 1, 1.6),
    ("edge_rate", ANSWER): since(NOW, 5, 8),
    ("edge_p95", ANSWER): since(NOW, 8.1, 3),
    ("running", LLM): since(NOW, 20, 60),
    ("waiting", LLM): since(NOW, 0, 80),
}
"""The gateway's time-out was cut to 3 s: calls fail while the model is as fast as ever."""
DIED: Bent = {
    **WAITS,
    **LACKS,
    ("ready", LLM): since(NOW, 2, 1),
    ("replica_busy", REPLICAS[1]): lambda i: np.nan if i >= NOW else 10.0,
    ("cache", LLM): since(NOW, 0.3, 0.6),
}
"""One of two replicas is gone: the other one has all requests, and is asked for twice as much."""


def strained(bent: Bent, strain: Utilization) -> EvaluationPoint:
    now = point(bent)
    return EvaluationPoint(now.world, now.at, now.base, utilizations={LLM: strain})


def sure(found: Iterable[Finding], cause: str) -> list[Finding]:
    return [each for each in found if each.cause == cause and each.service == LLM and each.strength > 0.5]


def test_a_model_that_takes_longer_per_token_than_its_load_explains_is_slow_by_itself() -> None:
    """Load alone explains none of it, nor does anybody else; replicas would be as slow."""
    now = strained(DEPLOYED, SLOWED)
    (found,) = sure(dependency(now), "dependency")
    assert found.suspect.service == LLM
    assert found.by_itself
    assert found.severity >= 2.5
    assert any(each.name == "time per token" for each in found.evidence)
    for other in (demand, provisioning_lag, retry_storms):
        assert [each for each in other(now) if each.service == LLM and each.strength > 0.5] == []
    assert sure(dependency(strained(DEPLOYED, FULL)), "dependency") == []


def test_whoever_asks_afterwards_is_told_so_too() -> None:
    """What load explains is learned from the time before."""

    def waves(i: int) -> float:
        return 20 + 8 * math.sin(i / 9)

    bent: Bent = {
        **DEPLOYED,
        ("running", LLM): lambda i: waves(i) * (1 if i < NOW else 3),
        ("per_token", LLM): lambda i: (0.012 + 0.0004 * waves(i) / 2) * (1 if i < NOW else 3),
    }
    made = world(bent)
    walks = retrospective(made, made.times[NOW + 5], made.times[NOW - 5])
    first = mean_ranking([rank_causes(walk, (LLM,)) for walk in walks])[0]
    assert first.service == LLM
    assert first.reasons == (Reason("cause", LLM, "dependency"),)


@pytest.mark.parametrize(
    "reason",
    [
        pytest.param(
            {("busy", tenant): since(NOW, 0.6, 0.3) for tenant in TENANTS if tenant.service == LLM}, id="a neighbor"
        ),
        pytest.param({("prompt_tokens", LLM): since(NOW, 5000, 16000)}, id="much longer prompts to read between steps"),
        pytest.param({("cache", LLM): since(NOW, 0.3, 1.6)}, id="longer requests"),
    ],
)
def test_what_else_slows_a_model_down_is_no_change_of_its_own(reason: Bent) -> None:
    assert sure(dependency(strained({**DEPLOYED, **reason}, SLOWED)), "dependency") == []


@pytest.mark.parametrize("prompts", [1.0, 1.1, 1.3])
def test_a_model_that_fails_by_itself_is_told_so_however_long_its_prompts_are(prompts: float) -> None:
    """It is as fast as ever: prompts explain nothing of that."""
    fails: Bent = {
        ("failed", LLM): since(NOW, 0, 0.5),
        ("edge_failed", ANSWER): since(NOW, 0, 0.5),
        ("failed", GATEWAY): since(NOW, 0, 0.4),
        ("prompt_tokens", LLM): since(NOW, 5000, 5000 * prompts),
    }
    (found,) = sure(dependency(strained(fails, replace(FULL, loads=(0.5, 0.5, 0.5)))), "dependency")
    assert found.suspect.service == LLM


@pytest.mark.parametrize("which", [("edge_p95", ANSWER), ("edge_server", ANSWER), ("per_token", LLM)])
def test_what_takes_no_time_at_all_ends_no_tick(which: tuple[str, object]) -> None:
    """The first bound of a histogram is 0, and a sum may stand still while its count grows."""
    zero = strained({**IMPATIENT, which: since(NOW, 8, 0)}, replace(SLOWED, slowdown=0.0))
    assert all(np.isfinite(each.strength) for each in findings(zero))


def test_retries_of_a_slow_model_are_no_storm_of_their_own() -> None:
    """Without them it would be as slow: what made them is still there."""
    assert sure(retry_storms(point(STORM)), "retry storm")
    assert sure(retry_storms(strained(STORM, SLOWED)), "retry storm") == []


@pytest.mark.parametrize(("ago", "cause"), [(BRIEF_SECONDS / 2, "retry storm"), (2 * BRIEF_SECONDS, "dependency")])
def test_slowness_that_lasts_is_told_as_such_and_before_that_what_it_may_leave_behind(ago: float, cause: str) -> None:
    now = strained({}, SLOWED)
    itself = Finding(
        LLM, "dependency", SuspectedCause(LLM), 0.9, 3.0, now.time - ago, (), Action("restart"), urgent=True
    )
    weak = Finding(LLM, "retry storm", SuspectedCause(LLM), 0.9, 3.0, now.time - 900, (), Action("restart"))
    (candidate,) = incident_candidates(now, {}, (itself,), {LLM: weak})
    assert candidate.cause
    assert candidate.cause.cause == cause


def test_a_caller_that_gives_up_sooner_than_ever_is_to_blame_for_the_work_in_vain() -> None:
    now = strained(IMPATIENT, FULL)
    (found,) = client_timeout(now)
    assert found.strength > 0.8
    assert (found.cause, found.suspect.service, found.suspect.edge) == ("retry storm", GATEWAY, ANSWER[:2])
    assert "put the time-out of serving/gateway for calls to serving/llm back" in action_text(found.action)
    assert action_text(found.action).endswith(
        "it gives up calls that are served as fast as ever, and makes each 1.6 times: without retries, load of"
        " serving/llm would be 62 % of what it is"
    )
    assert sure(demand(now), "demand") == []
    assert sure(provisioning_lag(now), "provisioning lag") == []
    assert findings(now)[0] == found


def test_work_for_nobody_goes_on_after_the_caller_has_given_up() -> None:
    """By then the server fails most of it, later than anybody waits for."""
    late = {**IMPATIENT, ("failed", LLM): since(NOW, 0, 0.7), ("edge_server", ANSWER): since(NOW, 8, 50)}
    assert next(client_timeout(point(late))).strength > 0.8
    failing = {**IMPATIENT, ("failed", LLM): since(NOW, 0, 0.7), ("edge_server", ANSWER): since(NOW, 8, 3)}
    assert list(client_timeout(point(failing))) == []


@pytest.mark.parametrize(
    "bent",
    [
        pytest.param({}, id="all is well"),
        pytest.param({**IMPATIENT, ("edge_p95", ANSWER): since(NOW, 8.1, 24)}, id="calls take as long as the time-out"),
        pytest.param({**IMPATIENT, ("running", LLM): 20, ("waiting", LLM): 0}, id="calls that never reach a server"),
        pytest.param({**IMPATIENT, ("edge_failed", ANSWER): since(NOW, 0, 0.01)}, id="one call of a hundred"),
        pytest.param({**IMPATIENT, ("edge_p95", ANSWER): np.nan}, id="nobody tells how long calls take"),
        pytest.param(WAITS, id="an overload"),
    ],
)
def test_failures_with_another_reason_are_nobody_s_impatience(bent: Bent) -> None:
    assert [each for each in client_timeout(point(bent)) if each.strength > 0.5] == []


def test_what_lost_replicas_leave_to_the_others_is_neither_demand_nor_longer_requests_nor_a_lag() -> None:
    found = findings(strained(DIED, FULL))
    assert {each.cause for each in found if each.strength > 0.5} == {"hardware"}


def test_a_request_holds_as_much_of_a_cache_however_many_replicas_there_are() -> None:
    """Twice as many requests on each of half as many replicas fill twice as much of it."""
    usual, died = point({}), point(DIED)
    assert died.value("held", LLM) == pytest.approx(usual.value("held", LLM))
    made = world(DIED)
    wide = EvaluationPoint(made, len(made.times) - 1, baselines_at(made, len(made.times) - 1))
    assert wide.history("held", LLM, 600.0)[-1] == pytest.approx(np.log(usual.value("held", LLM)))


def test_replicas_on_gpus_that_are_not_theirs_yet_do_not_make_a_model_idle() -> None:
    """Its pods wait on the second GPU, which idles."""
    waits: Bent = {
        ("utilization", GPUS[1]): 0.0,
        **{("busy", tenant): np.nan for tenant in TENANTS if tenant.gpu == GPUS[1] and tenant.service == LLM},
    }
    assert sure(retry_storms(point({**STORM, **waits})), "retry storm")


def test_what_a_small_caller_hands_on_is_seen_beside_a_large_one() -> None:
    """Each request that comes directly asks the model once, of the front's every second one."""
    waves = {ASK: lambda i: 12 + 3 * np.sin(i / 7), DIRECT: lambda i: 1 + 0.4 * np.sin(i / 11)}
    bent: Bent = {
        **{("edge_rate", edge): shape for edge, shape in waves.items()},
        ("edge_rate", ANSWER): lambda i: waves[DIRECT](i) + waves[ASK](i) / 2,
    }
    now = point(bent)
    edges = list(now.world.edges)
    assert forwarded_calls(now, edges.index(ANSWER), [edges.index(DIRECT), edges.index(ASK)]) == pytest.approx(
        [1.0, 0.5], rel=0.15
    )


def test_what_those_outside_ask_for_by_now_is_not_what_they_asked_for_in_the_hour() -> None:
    """One in ten of their requests went on to the model; of those that come on top all do."""
    bent: Bent = {
        ("edge_rate", ASK): lambda i: 6 + math.sin(i / 7),
        ("edge_rate", DIRECT): lambda i: 6 + math.cos(i / 11) + ramp(280, 295, 0, 3)(i),
        ("edge_rate", ANSWER): lambda i: 0.5 * (6 + math.sin(i / 7)) + 0.1 * 6 + ramp(280, 295, 0, 3)(i),
    }
    now = point(bent)
    edges = list(now.world.edges)
    rows = [edges.index(DIRECT), edges.index(ASK)]
    earlier = EvaluationPoint(now.world, 270, now.base)
    assert (
        forwarded_calls(now, edges.index(ANSWER), rows)[0] > 2 * forwarded_calls(earlier, edges.index(ANSWER), rows)[0]
    )


DRAINS: Bent = {
    ("running", LLM): ramp(282, NOW, 120, 20),
    ("waiting", LLM): ramp(282, NOW, 480, 0),
    ("finished", LLM): since(282, 5, 8),
    ("generated_tokens", LLM): since(282, 1000, 1600),
    ("rate", LLM): since(282, 5, 8),
    ("edge_rate", ANSWER): since(282, 5, 8),
    ("rate", GATEWAY): since(282, 7, 10),
    ("edge_rate", ASK): since(282, 5, 8),
    ("p95", LLM): since(270, 8, 60),
    ("p95", GATEWAY): since(270, 8.5, 60),
}
"""Half a thousand requests that had come while capacity was gone are worked off, faster than any are asked."""


def test_what_is_worked_off_was_asked_before_and_is_no_demand() -> None:
    """Neither of the model nor of those that wait for it; as many requests are there all along where it is demand."""
    crowd = {**DRAINS, ("running", LLM): since(282, 20, 60), ("waiting", LLM): 0}
    assert {each.service for each in demand(point(crowd)) if each.strength > 0.5} >= {LLM, GATEWAY}
    assert [each.service for each in demand(point(DRAINS)) if each.strength > 0.5] == []


@pytest.mark.parametrize("rate", [0.0, math.nan])
def test_who_is_not_told_to_be_asked_anything_works_nothing_off(rate: float) -> None:
    """Though it calls a model that does."""
    share = drained_shares(point({**DRAINS, ("rate", GATEWAY): since(282, 7, rate)}))
    assert share[LLM] > 0.2
    assert GATEWAY not in share


def test_replicas_are_added_where_there_is_no_room_and_not_in_front_of_it() -> None:
    """More of the gateway's would only ask more of the model."""
    more: Bent = {("rate", GATEWAY): since(282, 7, 14), ("edge_rate", ASK): since(282, 5, 12)}
    now = point({**more, ("p95", GATEWAY): since(270, 8.5, 60)})
    (alone,) = [each for each in demand(now) if each.service == GATEWAY]
    assert f", or add replicas of {GATEWAY}: without the growth its load would be " in action_text(alone.action)
    full = EvaluationPoint(now.world, now.at, now.base, utilizations={LLM: FULL})
    (behind,) = [each for each in demand(full) if each.service == GATEWAY]
    assert f" of {LLM}" in action_text(behind.action).partition(", or add ")[2]
    assert f": without the growth the load of {GATEWAY} would be " in action_text(behind.action)


@pytest.mark.parametrize(
    ("prompts", "answers", "what"), [(2.0, 1.0, "prompt"), (1.0, 2.0, "answer"), (0.9, 0.5, "prompt")]
)
def test_what_is_to_be_limited_is_what_became_longer(prompts: float, answers: float, what: str) -> None:
    longer = {
        ("cache", LLM): since(270, 0.3, 0.9),
        ("prompt_tokens", LLM): since(270, 5000, 5000 * prompts),
        ("generated_tokens", LLM): since(270, 1000, 1000 * answers),
    }
    (found,) = kv_cache_pressure(point(longer))
    assert action_text(found.action).startswith(f"limit the {what} length of ")


def test_whose_crowd_went_long_ago_is_not_whose_is_there() -> None:
    """The front had a peak ten minutes ago; now it is those who ask the gateway directly."""
    peak = lambda i: 5 + 4 * np.exp(-(((i - 240) / 6) ** 2))  # noqa: E731 - a shape
    bent: Bent = {("edge_rate", ASK): peak, ("edge_rate", DIRECT): ramp(280, 295, 2, 4)}
    now = point(bent)
    growth = dict(zip(now.world.edges, edge_growth(now, request_rates(now)), strict=True))
    assert growth[DIRECT] > 2 * growth[ASK]


def test_whose_requests_became_longer_is_seen_by_what_others_do_not_show() -> None:
    """All that ask the gateway are a fifth slower, for the model is fuller; one of them is twice as slow."""
    bent: Bent = {
        ("edge_server", ASK): since(NOW, 8.5, 10),
        ("edge_server", DIRECT): since(NOW, 8.5, 20),
        **slow(LLM, 8, 16),
        ("edge_server", ANSWER): since(NOW, 8, 16),
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1600),
    }
    now = point(bent)
    longer = dict(zip(now.world.edges, request_size_growth(now), strict=True))
    assert longer[DIRECT] == pytest.approx(2 * (20 / 10 - 1), rel=0.05)
    assert all(value == 0 for edge, value in longer.items() if edge != DIRECT)
    (found,) = sure(demand(now), "demand")
    assert found.suspect.service == GATEWAY
    alike = point({**bent, ("edge_server", DIRECT): since(NOW, 8.5, 10)})
    assert not request_size_growth(alike).any()


TAKEN: Bent = {
    **{("busy", each): since(NOW, 0.6, 0.2) if each.service == LLM else since(NOW, 0.2, 0.78) for each in TENANTS},
    **{("utilization", gpu): 1.0 for gpu in GPUS},
    **{("stalled_by", stall): since(NOW, 0.02, 0.7) for stall in STALLS},
}
"""A neighbor takes three quarters of both GPUs."""


@pytest.mark.parametrize(
    ("bent", "told"),
    [
        pytest.param(slow(LLM, 8, 20), "p95 of serving/llm would be about 8.00 s instead of 20.0 s", id="requests"),
        pytest.param(
            {("per_token", LLM): since(NOW, 0.02, 0.06)},
            "time per token of serving/llm would be about 20 ms instead of 60 ms",
            id="tokens, before any request is over",
        ),
    ],
)
def test_what_would_be_better_with_the_usual_part_of_a_gpu_is_told(bent: Bent, told: str) -> None:
    (found,) = sure(gpu_contention(point({**TAKEN, **bent})), "pool contention")
    assert action_text(found.action).endswith(f"now 20 %; with that again, {told}")
    (unfelt,) = sure(gpu_contention(point(TAKEN)), "pool contention")
    assert action_text(unfelt.action).endswith("now 20 %")


def test_whom_nobody_calls_cannot_be_done_without() -> None:
    now = point({**slow(FRONT, 9, 40), ("edge_server", IN): since(NOW, 9, 40)})
    (found,) = [each for each in dependency(now) if each.service == FRONT]
    assert action_text(found.action).startswith(f"undo the last change of {FRONT}, or restart it: ")
