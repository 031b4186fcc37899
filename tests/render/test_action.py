"""Actions in words, and their example commands."""

from __future__ import annotations

import math
import re
import shlex
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_dashboard.model.action import ARRIVING_LOAD, Action, ActionKind, Effect, Reason, ReasonKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.action import (
    action_clauses,
    action_expected,
    action_outcome,
    action_reason,
    action_text,
    reasons_text,
)
from foreshock_dashboard.render.clause import joined_text
from foreshock_dashboard.render.command import (
    COMMANDS,
    action_command,
    how_to,
    instructions,
    revert_command,
    side_effect,
)
from foreshock_dashboard.render.words.actions import REASONS, SUSPICIONS

LLM, BATCH, FRONT = Service("serving", "llm-chat"), Service("ml", "batch"), Service("product", "front")
GPU = Gpu("host-1", "0", "GPU-1b2c")
NOON = 1_800_014_400.0
MAX_WORDS = 12
BACK = "kubectl -n serving rollout undo deployment/llm-chat"
POLICY = "kubectl -n serving {} backendtrafficpolicy/llm-chat "
LIMITED = '{"type":"Local","local":{"rules":[{"limit":{"requests":266,"unit":"Minute"}}]}}'
ABORT = '{"abort":{"httpStatus":503,"percentage":20}}'
TEAM, TEAM_LIMIT = "lite http request POST /team/update --json ", '{{"team_id":"batch","rpm_limit":{}}}'
PATCH = "kubectl -n serving patch deployment/llm-chat --type=json --patch "
MAX_SEQUENCES = '[{"op": "add", "path": "/spec/template/spec/containers/0/args/-", "value": "--max-num-seqs=48"}]'
ENVOY = (
    "Envoy Gateway only (Istio: EnvoyFilter; NGINX: limit_req). "
    "First set ENVOY_REPLICAS to the number of Envoy replicas: without it, the command changes nothing. "
    "Replaces an existing limit; run the rollback in the same directory to restore it"
)
LIMITING, SHEDDING = Action("limit_rate", LLM, amount=4.44), Action("shed_load", LLM, amount=0.2)


def setting(field: str, value: str) -> str:
    """The end of a command that sets a field of a policy."""
    return f"""{POLICY.format("patch")}--type=json --patch '[{{"op":"add","path":"/spec/{field}","value":{value}}}]'"""


def saving(field: str, file: str) -> str:
    """The start of a command that saves a field of a policy first."""
    jsonpath = f"""'jsonpath={{.spec.{field}}}{{"\\n"}}'"""
    return f"test -s {file} || {POLICY.format('get')}-o {jsonpath} > {file} && "


def restoring(field: str, file: str) -> str:
    """A command that sets a field of a policy to what was saved first."""
    value = f"""'"${{saved:?none in {file}}}"'"""
    return f"(saved=$(sed 's/^$/null/' {file}) && {setting(field, value)} && rm {file})"


RAISE = """kubectl -n serving patch hpa/llm-chat --patch '{"spec": {"maxReplicas": 6}}'"""


@pytest.mark.parametrize("kind", get_args(ActionKind))
def test_an_action_is_one_short_imperative(kind: ActionKind) -> None:
    action = Action(kind, LLM, callee=BATCH, callers=(FRONT,), gpus=(GPU,), target="chat", amount=2.0, current=4.0)
    for variant in (action, Action(kind, LLM, callee=BATCH, gpus=(GPU,)), action._replace(requests="prompt")):
        words = joined_text(action_clauses(variant))
        assert words[0].isupper()
        assert "None" not in words
        assert "nan" not in words
        assert len(words.split()) <= MAX_WORDS


def test_every_reason_of_an_action_or_a_suspicion_has_words() -> None:
    assert {*SUSPICIONS, *REASONS} == {*get_args(ReasonKind)}
    for kind in REASONS:
        why = action_reason(Action("restart", LLM, gpus=(GPU,), reason=Reason(kind, LLM, value=2.0, baseline=1.0)))
        assert why[0].isupper() or why.startswith(("serving", "2"))
    for kind in SUSPICIONS:
        assert reasons_text([Reason(kind, LLM, name="p95", value=2.0, baseline=1.0, since=NOON)])


def test_a_cause_is_named_by_its_label() -> None:
    assert reasons_text([Reason("cause", LLM, name="gpu_contention")]) == "GPU contention of serving/llm-chat"
    assert reasons_text([Reason("cause", name="retry_storm")]) == "retry storm"


def test_two_metrics_that_say_the_same_are_one_reason() -> None:
    """As two counters of one error rate do."""
    grew = Reason("failures_grew", LLM, value=0.5, baseline=0.0)
    one, two = (
        reasons_text([grew._replace(name=name) for name in names]) for names in (("error_rate",), ("error_rate",) * 2)
    )
    assert two == one


def test_an_action_states_its_effect_against_the_limit_and_when() -> None:
    effect = Effect("load", LLM, "ratio", 0.82, 0.59, 0.76, "safe_limit")
    action = Action("add_replicas", LLM, target="chat", amount=2.0, current=4.0, effect=effect, effective_seconds=420.0)
    assert action_text(action) == (
        "Scale serving/llm-chat from 4 to 6 replicas in GPU pool chat."
        " Expected: serving/llm-chat load 82% → 59% (safe limit 76%), takes effect within 7 min."
    )


@pytest.mark.parametrize(
    ("effect", "too_late", "expected"),
    [
        (
            Effect("load", LLM, "ratio", 14.4, 0.7, 0.76, "safe_limit"),
            False,
            "load > 100% → 70% once the queue drains (safe limit 76%)",
        ),
        (
            Effect(ARRIVING_LOAD, LLM, "ratio", 1.4, 0.7, 0.76, "safe_limit"),
            False,
            "serving/llm-chat load > 100% → 70% once the queue drains (safe limit 76%)",
        ),
        (
            Effect("load", LLM, "ratio", 2.0, 1.2, 0.76, "safe_limit"),
            False,
            "load 40% lower (still above the safe limit 76%)",
        ),
        (Effect("load", LLM, "ratio", 0.9, 0.8, 0.76, "safe_limit"), False, "80% (still above the safe limit 76%)"),
        (
            Effect("p95", LLM, "s", 30.0, 8.0, 17.3, "slo"),
            True,
            "30.0 s → 8.00 s (SLO 17.3 s), takes effect within 1 min, likely too late",
        ),
        (Effect("load", LLM, "ratio", math.nan, 0.72), False, "load 28% lower, takes effect within 1 min"),
        (None, False, "takes effect within 1 min"),
    ],
)
def test_what_is_expected_says_what_is_not_achieved(effect: Effect | None, too_late: bool, expected: str) -> None:
    action = Action("limit_rate", FRONT, effect=effect, effective_seconds=60.0, too_late=too_late)
    assert expected in action_expected(action)


@pytest.mark.parametrize(
    ("rate", "shown", "limit"),
    [
        (10.9, "10", '$((10 / ENVOY_REPLICAS > 0 ? 10 / ENVOY_REPLICAS : 1))"\',"unit":"Second"'),
        (7.01, "7", '$((420 / ENVOY_REPLICAS > 0 ? 420 / ENVOY_REPLICAS : 1))"\',"unit":"Minute"'),
        (1.99, "1.98", '$((119 / ENVOY_REPLICAS > 0 ? 119 / ENVOY_REPLICAS : 1))"\',"unit":"Minute"'),
        (0.01, "0.01", None),
    ],
)
def test_a_rate_limit_is_the_one_that_its_command_sets(rate: float, shown: str, limit: str | None) -> None:
    """Gateways take whole requests; a bucket of a minute would let all of them pass at once. Below 1/min is none."""
    action = Action("limit_rate", FRONT, amount=rate, current=24.4)
    assert action_text(action).startswith(f"Rate-limit {FRONT} to {shown} req/s (now 24.4 req/s).")
    command = action_command(action)
    assert command is None if limit is None else limit in str(command)
    fewer = action_text(action._replace(current=rate / 2))  # are counted in an overload than arrive
    assert fewer.startswith(f"Rate-limit {FRONT} to {shown} req/s{' (now' if limit is None else '.'}")


@pytest.mark.parametrize(
    ("current", "callee", "said", "how"),
    [
        (
            24.4,
            None,
            "About 70% of front requests get HTTP 429",
            ENVOY,
        ),
        (
            math.nan,
            None,
            "Excess requests get HTTP 429",
            ENVOY,
        ),
        (
            24.4,
            BATCH,
            "About 70% of front requests get HTTP 429",
            (
                "LiteLLM only, with its lite command. Replaces an existing limit: note it down first, because the "
                "rollback removes it"
            ),
        ),
    ],
)
def test_a_rate_limit_says_which_share_it_rejects_for_which_gateway_it_is_and_what_it_replaces(
    current: float, callee: Service | None, said: str, how: str
) -> None:
    action = Action("limit_rate", FRONT, callee=callee, amount=7.32, current=current)
    assert (side_effect(action), how_to(action)) == (said, how)


@pytest.mark.parametrize(
    ("action", "said"),
    [
        (Action("limit_rate", Service("", "llm"), amount=7.0, current=10.0), "About 30% of llm requests get HTTP 429"),
        (Action("limit_rate", LLM, amount=0.01, current=0.02), "About 50% of llm-chat requests get HTTP 429"),
        (
            Action("move_off_gpus", BATCH, gpus=(GPU,)),
            "Restarts the pods of ml/batch. No new pods start on host-1 until rollback",
        ),
        (Action("drain_host", target="node-1"), "Evicts all pods from node-1. No new pods start there until rollback"),
        (Action("move_off_gpus", Service("", "batch"), gpus=(GPU,)), ""),
        (Action("add_replicas", LLM, amount=2, current=4), ""),
    ],
)
def test_what_a_command_changes_besides_its_effect_is_said_before_it(action: Action, said: str) -> None:
    assert side_effect(action) == said


def test_replicas_beyond_the_gpu_quota_say_what_it_leaves() -> None:
    action = Action("add_replicas", LLM, target="chat", amount=4.0, current=6.0, needed_gpus=5.0, free_gpus=1.0)
    needs = "needs 5 more GPUs (the quota of GPU pool chat leaves 1: raise it first)"
    assert action_expected(action._replace(effective_seconds=480.0)) == f"takes effect within 8 min, {needs}"
    for known in (
        action._replace(free_gpus=5.0),
        action._replace(free_gpus=math.nan),
        action._replace(needed_gpus=math.nan),
    ):
        assert action_expected(known) == ""


def test_an_unknown_effect_and_time_are_left_out() -> None:
    assert action_text(Action("inspect_replicas", LLM)) == "Check why serving/llm-chat replicas are not ready."
    assert action_text(None) == ""


def test_a_time_to_act_carries_its_unix_seconds() -> None:
    action = Action("add_replicas", LLM, at=NOON, reason=Reason("recurring_load", LLM, value=1.6))
    assert [clause.at for clause in action_clauses(action) if clause.kind == "minute"] == [NOON]
    assert action_text(action).startswith(
        "Add replicas of serving/llm-chat before 12:00 UTC. In previous days or weeks, load at that time was 1.6x"
    )


@pytest.mark.parametrize(
    ("action", "command"),
    [
        (Action("add_replicas", LLM, amount=2, current=4), "kubectl -n serving scale deployment/llm-chat --replicas=6"),
        (
            Action("add_replicas", LLM, amount=2, current=4, maximum=5),
            f"{RAISE} && kubectl -n serving scale deployment/llm-chat --replicas=6",
        ),
        (
            Action("add_replicas", LLM, amount=2, current=4, maximum=6),
            "kubectl -n serving scale deployment/llm-chat --replicas=6",
        ),
        (Action("pause", BATCH, current=3), "kubectl -n ml scale deployment/batch --replicas=0"),
        (
            Action("pause", BATCH),
            "kubectl -n ml get deployment/batch && kubectl -n ml scale deployment/batch --replicas=0",
        ),
        (Action("roll_back", LLM), "kubectl -n serving rollout undo deployment/llm-chat"),
        (
            Action("roll_back", LLM, target="1.4.1"),
            f"kubectl -n serving rollout history deployment/llm-chat && {BACK}",
        ),
        (Action("cap_gpu_share", BATCH, gpus=(GPU,), amount=0.19), None),
        (
            LIMITING,
            '(: "${ENVOY_REPLICAS:?set it to the number of Envoy replicas}" && '
            + saving("rateLimit", "rateLimit.@")
            + setting(
                "rateLimit", LIMITED.replace("266", """'"$((266 / ENVOY_REPLICAS > 0 ? 266 / ENVOY_REPLICAS : 1))"'""")
            )
            + ")",
        ),
        (Action("roll_back", LLM, target="1.4.1", amount=7.0), f"{BACK} --to-revision=7"),
        (Action("limit_rate", BATCH, callee=FRONT, amount=4.44), f"{TEAM}'{TEAM_LIMIT.format(266)}'"),
        (Action("limit_batch", LLM, amount=48.0, current=64.0), f"{PATCH}'{MAX_SEQUENCES}'"),
        (Action("limit_batch", LLM), None),
        (Action("restart", LLM), "kubectl -n serving rollout restart deployment/llm-chat"),
        (Action("inspect_replicas", LLM), "kubectl -n serving describe deployment/llm-chat"),
        (
            Action("raise_replica_limit", LLM, current=6),
            """kubectl -n serving patch hpa/llm-chat --patch '{"spec": {"maxReplicas": 7}}'""",
        ),
        (
            Action("move_off_gpus", BATCH, gpus=(GPU,)),
            "kubectl cordon host-1 && kubectl -n ml rollout restart deployment/batch",
        ),
        (
            Action("drain_host", target="node-1.example.com"),
            "kubectl drain node-1.example.com --ignore-daemonsets --delete-emptydir-data",
        ),
        (Action("inspect_gpus", LLM, gpus=(GPU,)), "nvidia-smi -q -d ECC,PERFORMANCE,POWER -i GPU-1b2c"),
        (Action("limit_rate", LLM), None),
        (SHEDDING, saving("faultInjection", "faultInjection.@") + setting("faultInjection", ABORT)),
        (Action("shed_load", LLM), None),
        (Action("add_replicas", LLM), None),
        (Action("restart", Service("", "llm")), None),
        (Action("restart"), None),
        (Action("move_off_gpus", BATCH), None),
    ],
)
def test_an_action_on_known_objects_has_an_example_command(action: Action, command: str | None) -> None:
    assert _unmarked(action_command(action)) == command


@pytest.mark.parametrize(
    ("action", "command"),
    [
        (Action("pause", BATCH, current=3), "kubectl -n ml scale deployment/batch --replicas=3"),
        (Action("pause", BATCH), None),
        (Action("move_off_gpus", BATCH, gpus=(GPU,)), "kubectl uncordon host-1"),
        (Action("drain_host", target="node-1"), "kubectl uncordon node-1"),
        (Action("pause", Service("", "batch"), current=3), None),
        (Action("move_off_gpus", Service("", "batch"), gpus=(GPU,)), None),
        (Action("add_replicas", LLM, amount=2, current=4), "kubectl -n serving scale deployment/llm-chat --replicas=4"),
        (
            Action("add_replicas", LLM, amount=2, current=4, maximum=5),
            f"kubectl -n serving scale deployment/llm-chat --replicas=4 && {RAISE.replace('6', '5')}",
        ),
        (Action("roll_back", LLM), "kubectl -n serving rollout undo deployment/llm-chat"),
        (Action("roll_back", LLM, target="1.4.1", amount=7.0), BACK),
        (Action("limit_rate", BATCH, callee=FRONT, amount=4.44), f"{TEAM}'{TEAM_LIMIT.format('null')}'"),
        (Action("limit_batch", LLM, amount=48.0, current=64.0), BACK),
        (LIMITING, restoring("rateLimit", "rateLimit.@")),
        (SHEDDING, restoring("faultInjection", "faultInjection.@")),
        (Action("restart", LLM), None),
    ],
)
def test_a_stopgap_has_a_command_that_ends_it(action: Action, command: str | None) -> None:
    assert _unmarked(revert_command(action)) == command


def _unmarked(command: str | None) -> str | None:
    """A command without the checksums of its file names."""
    return command and re.sub(r"\.[0-9a-f]{12}\b", ".@", command)


def test_load_shedding_with_a_callee_sets_a_fault_alone() -> None:
    assert action_command(SHEDDING._replace(callee=BATCH)) == action_command(SHEDDING)


@pytest.mark.parametrize(
    ("action", "names"),
    [
        (LIMITING, ["note", "command", "revert"]),
        (Action("restart", LLM), ["command"]),
        (Action("pause", BATCH), ["command", "revert"]),
        (Action("cap_gpu_share", BATCH), ["how"]),
        (Action("inspect_replicas"), []),
    ],
)
def test_instructions_are_read_in_order(action: Action, names: list[str]) -> None:
    """A note before its command, and a rollback after it, even where no command is known for it."""
    assert [row.name for row in instructions(action).rows()] == names


def test_a_command_of_one_gateway_says_so_and_where_others_have_the_setting() -> None:
    assert how_to(SHEDDING).startswith("Envoy Gateway only (Istio: HTTP fault abort; NGINX: return 503). Replaces an ")
    assert how_to(SHEDDING._replace(amount=math.nan)).startswith("At the gateway, return HTTP 503 for some of requests")


def test_two_steps_say_when_p95_is_back_within_its_slo_and_when_to_roll_back() -> None:
    back = Effect("p95", LLM, "s", 285.0, 12.6, 18.0, "slo")
    shed = Action("shed_load", LLM, amount=0.2, outcome=back, effective_seconds=60.0, drain_seconds=420.0)
    assert joined_text(action_clauses(shed)).endswith("with HTTP 503, then roll back when p95 is below 18.0 s")
    assert action_outcome(shed) == (
        "Do both steps: p95 is back within SLO in about 8 min, once the queue drains (285 s → 12.6 s, SLO 18.0 s). "
        "Until then 20% of requests to serving/llm-chat are rejected; callers then recover"
    )
    late = action_outcome(shed._replace(outcome=back._replace(projected=20.0)))
    assert "p95 285 s → 20.0 s (still above the SLO 18.0 s) in about 8 min" in late


def test_an_action_beyond_the_maximum_of_the_autoscaler_says_so() -> None:
    action = Action("add_replicas", LLM, target="chat", amount=2.0, current=4.0, maximum=5.0)
    assert joined_text(action_clauses(action)) == (
        "Scale serving/llm-chat from 4 to 6 replicas (raise HPA maximum from 5 to 6)"
    )
    lagging = action._replace(amount=2.0, current=6.0, ready=4.0, maximum=6.0)
    assert joined_text(action_clauses(lagging)) == (
        "Scale serving/llm-chat from 6 (4 ready) to 8 replicas (raise HPA maximum from 6 to 8)"
    )
    assert "--replicas=6" in (revert_command(lagging) or "")  # the desired ones, not those that are ready
    within = joined_text(action_clauses(action._replace(maximum=6.0)))
    assert within == "Scale serving/llm-chat from 4 to 6 replicas in GPU pool chat"


HOSTILE = st.text(max_size=20) | st.sampled_from(
    ["a; rm -rf /", "$(id)", "`id`", "a b", "-n", "--all", "A", "a\n", "a/../b", "é", "a'b", "{}", "x" * 64, "a..b"]
)


@given(HOSTILE, HOSTILE, st.sampled_from(sorted(COMMANDS)))
def test_a_hostile_name_never_reaches_a_shell(namespace: str, name: str, kind: ActionKind) -> None:
    """A command has as many words as one for plain names, none of them an option that a name brought."""

    def words(space: str, one: str) -> list[str] | None:
        gpus = (Gpu(one, "0", f"GPU-{one}"),)
        command = action_command(Action(kind, Service(space, one), gpus=gpus, target=one, amount=1, current=1))
        return None if command is None else shlex.split(command)

    plain, hostile = words("ns", "svc"), words(namespace, name)
    assert plain is not None
    if hostile is not None:
        assert len(hostile) == len(plain)
        assert [word for word in hostile if word.startswith("-")] == [word for word in plain if word.startswith("-")]
