"""Findings for model servers that fall behind at their baseline request rate."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from tests.analysis.detectors.platform import (
    ANSWER,
    ASK,
    BATCH,
    DIRECT,
    FRONT,
    GATEWAY,
    GPU_WAIT_PAIRS,
    GPUS,
    IN,
    LLM,
    REPLICAS,
    TENANTS,
    Changes,
    point,
    ramp,
    since,
    texts,
)
from tests.analysis.detectors.test_detectors import NOW, STORM, WAITS, slow

from foreshock_dashboard.analysis.baseline.point import EvaluationPoint
from foreshock_dashboard.analysis.detectors.client_timeout import client_timeout
from foreshock_dashboard.analysis.detectors.dependency import dependency
from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.detectors.gpu_contention import gpu_contention
from foreshock_dashboard.analysis.detectors.kv_cache_pressure import kv_cache_pressure
from foreshock_dashboard.analysis.detectors.overload import (
    drained_shares,
    edge_growth,
    forwarded_calls,
    overload,
    request_size_growth,
)
from foreshock_dashboard.analysis.detectors.registry import findings
from foreshock_dashboard.analysis.detectors.retry_storm import retry_storm
from foreshock_dashboard.analysis.detectors.scale_up_lag import scale_up_lag
from foreshock_dashboard.analysis.incidents.triage import BRIEF_SECONDS, incident_candidates
from foreshock_dashboard.model.action import Action
from foreshock_dashboard.model.forecast import Utilization
from foreshock_dashboard.model.incident import SuspectedCause

OVERLOADED = Utilization(1.0, 0.0, 0.6, 0.0, 60.0, 0.9, (1.3, 0.8, 0.7), 0.5, 0.7)
"""Overloaded model servers, as fast per token as their load explains."""
SLOWED = replace(OVERLOADED, slowdown=2.5, z=15.0)
"""The same, with 2.5 times the time per token."""
LACKS: Changes = {("wanted", LLM): since(NOW, 2, 4), ("pending", LLM): since(NOW, 0, 2)}
DEPLOYED: Changes = {**WAITS, **LACKS, ("per_token", LLM): since(NOW, 0.02, 0.06), ("running", LLM): since(NOW, 20, 60)}
"""A new version takes three times as long per token; the autoscaler adds replicas."""
TIMED_OUT: Changes = {
    **LACKS,
    ("edge_error_rate", ANSWER): since(NOW, 0, 0.4),
    ("attempts", ANSWER): since(NOW, 1, 1.6),
    ("edge_rate", ANSWER): since(NOW, 5, 8),
    ("edge_p95", ANSWER): since(NOW, 8.1, 3),
    ("running", LLM): since(NOW, 20, 60),
    ("waiting", LLM): since(NOW, 0, 80),
}
"""The gateway's timeout was cut to 3 s: calls fail while the model is as fast as ever."""
DIED: Changes = {
    **WAITS,
    **LACKS,
    ("ready", LLM): since(NOW, 2, 1),
    ("replica_busy", REPLICAS[1]): lambda i: np.nan if i >= NOW else 10.0,
    ("cache", LLM): since(NOW, 0.3, 0.6),
}
"""One of two replicas is lost, and the other has all requests."""


def likely(findings: Iterable[Finding], cause: str) -> list[Finding]:
    return [
        finding for finding in findings if finding.cause == cause and finding.service == LLM and finding.strength > 0.5
    ]


def test_slow_tokens_beyond_the_load_are_an_own_fault() -> None:
    """No other detector explains it."""
    now = point(DEPLOYED, utilization=SLOWED)
    (result,) = likely(dependency(now), "dependency")
    assert result.suspect.service == LLM
    assert result.by_itself
    assert result.severity >= 2.5
    assert any(finding.name == "time per output token" for finding in result.evidence)
    for other in (overload, scale_up_lag, retry_storm):
        assert [finding for finding in other(now) if finding.service == LLM and finding.strength > 0.5] == []
    assert likely(dependency(point(DEPLOYED, utilization=OVERLOADED)), "dependency") == []


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
def test_slow_tokens_with_another_reason_are_no_own_fault(reason: Changes) -> None:
    assert likely(dependency(point({**DEPLOYED, **reason}, utilization=SLOWED)), "dependency") == []


@pytest.mark.parametrize("prompts", [1.0, 1.1, 1.3])
def test_failures_are_an_own_fault_at_any_prompt_length(prompts: float) -> None:
    """Prompts explain only a slowdown."""
    fails: Changes = {
        ("error_rate", LLM): since(NOW, 0, 0.5),
        ("edge_error_rate", ANSWER): since(NOW, 0, 0.5),
        ("error_rate", GATEWAY): since(NOW, 0, 0.4),
        ("prompt_tokens", LLM): since(NOW, 5000, 5000 * prompts),
    }
    (result,) = likely(dependency(point(fails, utilization=replace(OVERLOADED, loads=(0.5, 0.5, 0.5)))), "dependency")
    assert result.suspect.service == LLM


@pytest.mark.parametrize("key", [("edge_p95", ANSWER), ("edge_server", ANSWER), ("per_token", LLM)])
def test_durations_of_zero_have_finite_findings(key: tuple[str, object]) -> None:
    """The first bound of a histogram is 0, and a sum may stay constant while its count grows."""
    zero = point({**TIMED_OUT, key: since(NOW, 8, 0)}, utilization=replace(SLOWED, slowdown=0.0))
    assert all(np.isfinite(finding.strength) for finding in findings(zero))


def test_retries_of_a_slow_model_server_are_no_storm() -> None:
    """Without retries it would be as slow: their cause lasts."""
    assert likely(retry_storm(point(STORM)), "retry_storm")
    assert likely(retry_storm(point(STORM, utilization=SLOWED)), "retry_storm") == []


@pytest.mark.parametrize(("ago", "cause"), [(BRIEF_SECONDS / 2, "retry_storm"), (2 * BRIEF_SECONDS, "dependency")])
def test_a_brief_slowdown_is_reported_as_the_storm_that_it_may_leave_behind(ago: float, cause: str) -> None:
    now = point({}, utilization=SLOWED)
    own_fault = Finding(
        LLM, "dependency", SuspectedCause(LLM), 0.9, 3.0, now.time - ago, (), (Action("restart"),), urgent=True
    )
    weak = Finding(LLM, "retry_storm", SuspectedCause(LLM), 0.9, 3.0, now.time - 900, (), (Action("restart"),))
    (candidate,) = incident_candidates(now, {}, (own_fault,), {LLM: weak})
    assert candidate.cause
    assert candidate.cause.cause == cause


def test_a_shorter_client_timeout_causes_abandoned_work() -> None:
    now = point(TIMED_OUT, utilization=OVERLOADED)
    (result,) = client_timeout(now)
    assert result.strength > 0.8
    assert (result.cause, result.suspect.service, result.suspect.edge) == ("retry_storm", GATEWAY, ANSWER[:2])
    assert texts(result.actions) == (
        "Cap retries from serving/gateway to serving/llm at 10% of calls."
        " serving/gateway abandons calls even though they are answered at baseline latency, 1.6 attempts per call."
        " Expected: serving/llm load 90% → 56% (safe limit 76%)."
        " Restore the previous timeout of serving/gateway for serving/llm."
    )
    assert likely(overload(now), "overload") == []
    assert likely(scale_up_lag(now), "scale_up_lag") == []
    assert findings(now)[0] == result


def test_a_client_timeout_is_found_if_the_server_fails_late() -> None:
    """It fails abandoned requests after their client timed out."""
    late = {**TIMED_OUT, ("error_rate", LLM): since(NOW, 0, 0.7), ("edge_server", ANSWER): since(NOW, 8, 50)}
    assert next(client_timeout(point(late))).strength > 0.8
    failing = {**TIMED_OUT, ("error_rate", LLM): since(NOW, 0, 0.7), ("edge_server", ANSWER): since(NOW, 8, 3)}
    assert list(client_timeout(point(failing))) == []


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="all is well"),
        pytest.param({**TIMED_OUT, ("edge_p95", ANSWER): since(NOW, 8.1, 24)}, id="calls take as long as the timeout"),
        pytest.param({**TIMED_OUT, ("running", LLM): 20, ("waiting", LLM): 0}, id="calls that never reach a server"),
        pytest.param({**TIMED_OUT, ("edge_error_rate", ANSWER): since(NOW, 0, 0.01)}, id="one call of a hundred"),
        pytest.param({**TIMED_OUT, ("edge_p95", ANSWER): np.nan}, id="unknown latency of calls"),
        pytest.param(WAITS, id="an overload"),
    ],
)
def test_failures_with_another_reason_are_no_client_timeout(changes: Changes) -> None:
    assert [finding for finding in client_timeout(point(changes)) if finding.strength > 0.5] == []


def test_lost_replicas_explain_the_load_of_the_others() -> None:
    result = findings(point(DIED, utilization=OVERLOADED))
    assert {finding.cause for finding in result if finding.strength > 0.5} == {"hardware"}


def test_kv_cache_per_request_does_not_depend_on_replicas() -> None:
    """Half as many replicas hold twice as many requests each."""
    healthy, died = point({}), point(DIED)
    assert died.value("held", LLM) == pytest.approx(healthy.value("held", LLM))
    assert died.history("held", LLM, 600.0)[-1] == pytest.approx(np.log(healthy.value("held", LLM)))


def test_idle_gpus_of_pending_replicas_do_not_hide_a_storm() -> None:
    """Its pods wait on the second GPU, which idles."""
    waits: Changes = {
        ("utilization", GPUS[1]): 0.0,
        **{("busy", tenant): np.nan for tenant in TENANTS if tenant.gpu == GPUS[1] and tenant.service == LLM},
    }
    assert likely(retry_storm(point({**STORM, **waits})), "retry_storm")


def test_forwarded_calls_of_a_small_caller_are_learned() -> None:
    """Each direct request calls the model once, and every second one of the front."""
    waves = {ASK: lambda i: 12 + 3 * np.sin(i / 7), DIRECT: lambda i: 1 + 0.4 * np.sin(i / 11)}
    changes: Changes = {
        **{("edge_rate", edge): shape for edge, shape in waves.items()},
        ("edge_rate", ANSWER): lambda i: waves[DIRECT](i) + waves[ASK](i) / 2,
    }
    now = point(changes)
    edges = list(now.world.edges)
    assert forwarded_calls(now, edges.index(ANSWER), [edges.index(DIRECT), edges.index(ASK)]) == pytest.approx(
        [1.0, 0.5], rel=0.15
    )


def test_forwarded_calls_follow_a_recent_change_of_the_mix() -> None:
    """One in ten direct requests was forwarded to the model; all additional ones are."""
    changes: Changes = {
        ("edge_rate", ASK): lambda i: 6 + math.sin(i / 7),
        ("edge_rate", DIRECT): lambda i: 6 + math.cos(i / 11) + ramp(280, 295, 0, 3)(i),
        ("edge_rate", ANSWER): lambda i: 0.5 * (6 + math.sin(i / 7)) + 0.1 * 6 + ramp(280, 295, 0, 3)(i),
    }
    now = point(changes)
    edges = list(now.world.edges)
    rows = [edges.index(DIRECT), edges.index(ASK)]
    earlier = EvaluationPoint(now.world, 270, now.baselines)
    assert (
        forwarded_calls(now, edges.index(ANSWER), rows)[0] > 2 * forwarded_calls(earlier, edges.index(ANSWER), rows)[0]
    )


DRAINED: Changes = {
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
"""500 requests that arrived while capacity was lost are served faster than new ones arrive."""


def test_draining_a_queue_is_no_overload() -> None:
    """Neither for the model nor for its callers. With as many requests in progress all along it is overload."""
    crowd = {**DRAINED, ("running", LLM): since(282, 20, 60), ("waiting", LLM): 0}
    assert {finding.service for finding in overload(point(crowd)) if finding.strength > 0.5} >= {LLM, GATEWAY}
    assert [finding.service for finding in overload(point(DRAINED)) if finding.strength > 0.5] == []


@pytest.mark.parametrize("rate", [0.0, math.nan])
def test_a_caller_without_a_known_rate_drains_nothing(rate: float) -> None:
    """Although it calls a draining model."""
    share = drained_shares(point({**DRAINED, ("rate", GATEWAY): since(282, 7, rate)}))
    assert share[LLM] > 0.2
    assert GATEWAY not in share


def test_replicas_are_added_to_the_overloaded_model_server() -> None:
    """More replicas of the gateway would only send more requests to the model."""
    more: Changes = {("rate", GATEWAY): since(282, 7, 14), ("edge_rate", ASK): since(282, 5, 12)}
    now = point({**more, ("p95", GATEWAY): since(270, 8.5, 60)})
    (alone,) = [finding for finding in overload(now) if finding.service == GATEWAY]
    assert f"Expected: {GATEWAY} load " in texts(alone.actions)
    assert texts(alone.actions).endswith(f"Add replicas of {GATEWAY}.")
    full = point({**more, ("p95", GATEWAY): since(270, 8.5, 60)}, utilization=OVERLOADED)
    (behind,) = [finding for finding in overload(full) if finding.service == GATEWAY]
    assert [action.service for action in behind.actions if action.kind == "add_replicas"] == [LLM]
    assert all(action.effect.subject == LLM for action in behind.actions if action.effect)


@pytest.mark.parametrize(
    ("prompts", "answers", "longer_part"), [(2.0, 1.0, "prompt"), (1.0, 2.0, "answer"), (0.9, 0.5, "prompt")]
)
def test_the_longer_of_prompts_and_answers_is_limited(prompts: float, answers: float, longer_part: str) -> None:
    longer = {
        ("cache", LLM): since(270, 0.3, 0.9),
        ("prompt_tokens", LLM): since(270, 5000, 5000 * prompts),
        ("generated_tokens", LLM): since(270, 1000, 1000 * answers),
    }
    (result,) = kv_cache_pressure(point(longer))
    assert texts(result.actions).startswith(f"Limit the {longer_part} length of requests from ")


def test_a_past_peak_is_no_growth() -> None:
    """The front had a peak ten minutes ago; now direct requests grow."""
    peak = lambda i: 5 + 4 * np.exp(-(((i - 240) / 6) ** 2))  # noqa: E731 - a shape
    changes: Changes = {("edge_rate", ASK): peak, ("edge_rate", DIRECT): ramp(280, 295, 2, 4)}
    now = point(changes)
    growth = dict(zip(now.world.edges, edge_growth(now), strict=True))
    assert growth[DIRECT] > 2 * growth[ASK]


def test_a_crowd_is_growth_before_it_shows_in_a_mean_of_minutes() -> None:
    """Direct requests have been more for ten minutes; the front comes out of a trough within half a minute."""
    crowd = lambda i: 5 if i < 240 else 3.6 if i < 297 else 8  # noqa: E731 - a shape
    changes: Changes = {("edge_rate", ASK): crowd, ("edge_rate", IN): crowd, ("edge_rate", DIRECT): since(240, 2, 2.8)}
    now = point(changes)
    growth = dict(zip(now.world.edges, edge_growth(now), strict=True))
    assert growth[ASK] > 2 * growth[DIRECT]


def test_request_size_grows_for_a_caller_slower_than_the_others() -> None:
    """All callers of the gateway are a fifth slower, because the model is fuller; one is twice as slow."""
    changes: Changes = {
        ("edge_server", ASK): since(NOW, 8.5, 10),
        ("edge_server", DIRECT): since(NOW, 8.5, 20),
        **slow(LLM, 8, 16),
        ("edge_server", ANSWER): since(NOW, 8, 16),
        ("generated_tokens", LLM): ramp(200, 280, 1000, 1600),
    }
    now = point(changes)
    longer = dict(zip(now.world.edges, request_size_growth(now), strict=True))
    assert longer[DIRECT] == pytest.approx(2 * (20 / 10 - 1), rel=0.05)
    assert all(value == 0 for edge, value in longer.items() if edge != DIRECT)
    (result,) = likely(overload(now), "overload")
    assert result.suspect.service == GATEWAY
    alike = point({**changes, ("edge_server", DIRECT): since(NOW, 8.5, 10)})
    assert not request_size_growth(alike).any()


TAKEN: Changes = {
    **{
        ("busy", finding): since(NOW, 0.6, 0.2) if finding.service == LLM else since(NOW, 0.2, 0.78)
        for finding in TENANTS
    },
    **{("utilization", gpu): 1.0 for gpu in GPUS},
    **{("gpu_wait_by", pair): since(NOW, 0.02, 0.7) for pair in GPU_WAIT_PAIRS},
}
"""A neighbor takes three quarters of both GPUs."""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param(slow(LLM, 8, 20), "serving/llm p95 20.0 s → 8.00 s (baseline 8.00 s).", id="requests"),
        pytest.param(
            {("per_token", LLM): since(NOW, 0.02, 0.06)},
            "serving/llm time per output token 60 ms → 20 ms (baseline 20 ms).",
            id="tokens, before any request is over",
        ),
    ],
)
def test_the_effect_of_a_restored_gpu_share_is_named_if_felt(changes: Changes, expected: str) -> None:
    (result,) = likely(gpu_contention(point({**TAKEN, **changes})), "gpu_contention")
    assert texts(result.actions).count(f"Expected: {expected}") == len(result.actions) > 1
    (unfelt,) = likely(gpu_contention(point(TAKEN)), "gpu_contention")
    assert "Expected" not in texts(unfelt.actions)


@pytest.mark.parametrize(
    ("rate", "kinds"),
    [(math.nan, ["pause", "move_off_gpus", "cap_gpu_share"]), (3.0, ["move_off_gpus", "cap_gpu_share"])],
    ids=["a batch job", "a service with requests"],
)
def test_only_a_neighbor_without_requests_is_paused(rate: float, kinds: list[str]) -> None:
    (result,) = likely(gpu_contention(point({**TAKEN, ("rate", BATCH): rate})), "gpu_contention")
    assert [action.kind for action in result.actions] == kinds


def test_a_service_without_callers_is_restarted() -> None:
    now = point({**slow(FRONT, 9, 40), ("edge_server", IN): since(NOW, 9, 40)})
    (result,) = [finding for finding in dependency(now) if finding.service == FRONT]
    assert [(action.kind, action.service) for action in result.actions] == [("roll_back", FRONT), ("restart", FRONT)]
