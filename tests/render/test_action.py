"""Actions in words, and their example commands."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
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
    "Envoy Gateway only (Istio: EnvoyFilter; NGINX: limit_req). Each Envoy replica has its own limit: set "
    "ENVOY_REPLICAS to how many there are. Replaces an existing limit: to restore it, run the rollback in the "
    "same directory"
)
LIMITING, SHEDDING = Action("limit_rate", LLM, amount=4.44), Action("shed_load", LLM, amount=0.2)


def setting(field: str, value: str) -> str:
    """The end of a command that sets a field of a policy."""
    return f"""{POLICY.format("patch")}--type=json --patch '[{{"op":"add","path":"/spec/{field}","value":{value}}}]'"""


def saving(field: str, file: str) -> str:
    """The start of a command that saves a field of a policy first."""
    jsonpath = f"""'jsonpath={{.spec.{field}}}{{"\\n"}}'"""
    return f"test -s {file} || {POLICY.format('get')}-o {jsonpath} > {file} && "


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
        (10.9, "10", '$((10 / ENVOY_REPLICAS))"\',"unit":"Second"'),
        (7.01, "7", '$((420 / ENVOY_REPLICAS))"\',"unit":"Minute"'),
        (1.99, "1.98", '$((119 / ENVOY_REPLICAS))"\',"unit":"Minute"'),
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
            "LiteLLM only, with its command lite. Replaces an existing limit: note it first, the rollback removes it",
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
        "Add replicas of serving/llm-chat before 12:00 UTC. In earlier weeks or days, load at that time was 1.6x"
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
            "ENVOY_REPLICAS=1 && "
            + saving("rateLimit", "rateLimit.@")
            + setting("rateLimit", LIMITED.replace("266", """'"$((266 / ENVOY_REPLICAS))"'""")),
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
        (LIMITING, setting("rateLimit", "'\"$(sed 's/^$/null/' rateLimit.@)\"'") + " && rm rateLimit.@"),
        (SHEDDING, setting("faultInjection", "'\"$(sed 's/^$/null/' faultInjection.@)\"'") + " && rm faultInjection.@"),
        (Action("restart", LLM), None),
    ],
)
def test_a_stopgap_has_a_command_that_ends_it(action: Action, command: str | None) -> None:
    assert _unmarked(revert_command(action)) == command


def _unmarked(command: str | None) -> str | None:
    """A command without the checksums of its file names."""
    return command and re.sub(r"\.[0-9a-f]{12}\b", ".@", command)


KUBECTL = """#!{python}
import json, pathlib, sys
verb, options = sys.argv[3], sys.argv[5:]
with open("calls", "a") as calls:
    print(verb, file=calls)
if pathlib.Path("fails").exists():
    sys.exit("Unable to connect to the server")
policy = json.loads(pathlib.Path("policy.json").read_text())
if verb == "get":
    field, end = options[1].removeprefix("jsonpath={{.spec.").split("}}", 1)
    assert end == '{{"\\\\n"}}', end
    value = policy["spec"].get(field)
    print("" if value is None else json.dumps(value))
else:
    (change,) = json.loads(options[2])
    assert (options[0], change["op"]) == ("--type=json", "add")
    policy["spec"][change["path"].removeprefix("/spec/")] = change["value"]
    pathlib.Path("policy.json").write_text(json.dumps(policy))
"""
"""A kubectl that has one policy, in a file; with a file `fails`, one without a connection."""
LOCAL_KUBECTL = """#!/bin/sh
echo $3 >> calls
test ! -e fails || exit 1
case $3 in
get) exec {kubectl} patch --local -f policy.json --type=json --patch '[]' "$5" "$6" ;;
patch) {kubectl} patch --local -f policy.json "$5" "$6" "$7" -o json > new.json && mv new.json policy.json ;;
esac
"""
"""The same by the real kubectl, which changes objects in files too."""


class Cluster:
    """A folder with a kubectl and a policy, in which commands run."""

    def __init__(self, folder: Path, spec: Mapping[str, object], script: str = KUBECTL) -> None:
        self.folder = folder
        kubectl = folder / "kubectl"
        kubectl.write_text(script.format(python=sys.executable, kubectl=shutil.which("kubectl")))
        kubectl.chmod(0o755)
        kind = {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy"}
        (folder / "policy.json").write_text(json.dumps({**kind, "metadata": {"name": "llm-chat"}, "spec": spec}))

    def run(self, command: str | None) -> list[str]:
        """The verbs that a command calls kubectl with."""
        assert command
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder)}
        subprocess.run(["sh", "-c", command], cwd=self.folder, env=environment, capture_output=True, check=False)
        return calls.read_text().split()

    @property
    def spec(self) -> dict[str, object]:
        """The spec of the policy without null, which the API server drops from custom resources."""
        spec = json.loads((self.folder / "policy.json").read_text())["spec"]
        return {name: value for name, value in spec.items() if value is not None}


REAL = pytest.param(
    LOCAL_KUBECTL, marks=pytest.mark.skipif(shutil.which("kubectl") is None, reason="kubectl is not installed")
)
GLOBAL_LIMIT = {"type": "Global", "global": {"rules": [{"limit": {"requests": 9, "unit": "Hour"}}]}}
EARLIER_FAULT = {"delay": {"fixedDelay": "1s's", "percentage": 5}}


@pytest.mark.parametrize("kubectl", [KUBECTL, REAL])
@pytest.mark.parametrize("earlier", [None, {"rateLimit": GLOBAL_LIMIT, "faultInjection": EARLIER_FAULT}])
@pytest.mark.parametrize(
    ("action", "field", "value"), [(LIMITING, "rateLimit", LIMITED), (SHEDDING, "faultInjection", ABORT)]
)
def test_one_rollback_restores_an_earlier_setting_of_a_policy_or_removes_the_new_one(
    tmp_path: Path, action: Action, field: str, value: str, earlier: Mapping[str, object] | None, kubectl: str
) -> None:
    """Also after a second run, which saves nothing, as it would save what the first one set."""
    before = {"targetRefs": [{"kind": "HTTPRoute", "name": "llm-chat"}], **(earlier or {})}
    cluster = Cluster(tmp_path, before, kubectl)
    command = action_command(action)
    assert cluster.run(command) == ["get", "patch"]
    assert cluster.spec == {**before, field: json.loads(value)}
    assert cluster.run(command) == ["patch"]
    assert cluster.run(action_command(action._replace(amount=0.5))) == ["patch"]
    assert cluster.spec != {**before, field: json.loads(value)}
    assert cluster.run(revert_command(action)) == ["patch"]
    assert cluster.spec == before
    assert not list(tmp_path.glob(f"{field}.*"))


def test_a_command_after_a_rollback_saves_what_was_set_meanwhile(tmp_path: Path) -> None:
    cluster = Cluster(tmp_path, {})
    command, rollback = action_command(LIMITING), revert_command(LIMITING)
    for earlier in ({}, {"rateLimit": GLOBAL_LIMIT}, {}):
        (tmp_path / "policy.json").write_text(json.dumps({"spec": earlier}))
        assert cluster.run(command) == ["get", "patch"]
        assert cluster.spec == {"rateLimit": json.loads(LIMITED)}
        cluster.run(rollback)
        assert cluster.spec == earlier


def test_limits_of_two_incidents_of_a_service_leave_none_behind(tmp_path: Path) -> None:
    """A second one with the first still in place saves nothing, and a second rollback changes nothing."""
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    first, second = LIMITING, LIMITING._replace(amount=2.0)
    for action in (first, second):
        cluster.run(action_command(action))
    for action in (first, second):
        cluster.run(revert_command(action))
        assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


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


def test_a_limit_is_divided_by_the_number_of_envoy_replicas(tmp_path: Path) -> None:
    """Each has the limit for itself, and only who runs the command knows how many there are."""
    cluster = Cluster(tmp_path, {})
    command = action_command(LIMITING)
    assert command
    for replicas, requests in ((1, 266), (2, 133), (3, 88)):
        cluster.run(command.replace("ENVOY_REPLICAS=1", f"ENVOY_REPLICAS={replicas}"))
        assert cluster.spec == {"rateLimit": json.loads(LIMITED.replace("266", str(requests)))}


def test_a_policy_that_cannot_be_saved_is_not_changed_and_a_rollback_needs_the_saved_setting(tmp_path: Path) -> None:
    """A failed command leaves an empty file, which is no saved setting; without a file, kubectl refuses the patch."""
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    command, rollback = action_command(LIMITING), revert_command(LIMITING)
    (tmp_path / "fails").touch()
    assert cluster.run(command) == ["get"]
    (tmp_path / "fails").unlink()
    for saved in (True, False):
        if not saved:
            next(tmp_path.glob("rateLimit.*")).unlink()
        assert cluster.run(rollback) == ["patch"]
        assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}
    assert cluster.run(command) == ["get", "patch"]
    assert cluster.run(rollback) == ["patch"]
    assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


def test_each_setting_has_a_separate_file() -> None:
    """By service, cluster, and field, also on a file system like macOS', with names that need no quotes."""
    services = [
        *(
            LLM,
            FRONT,
            LLM._replace(namespace="staging"),
            LLM.in_cluster("eu"),
            LLM.in_cluster("EU"),
            LLM.in_cluster("us"),
        ),
        *(LLM.in_cluster(f"arn:aws:eks:us-east-1:1:cluster{mark}prod") for mark in "/:@"),
        *(LLM.in_cluster(f"{'c' * 252}{end}") for end in "12"),
    ]
    commands = [
        (
            action_command(action._replace(service=service)),
            revert_command(action._replace(service=service)),
        )
        for action in (LIMITING, SHEDDING)
        for service in services
    ]
    files = [re.findall(r"test -s (\S+) \|\|", command or "")[0] for command, _ in commands]
    assert len({file.lower() for file in files}) == len(commands)
    assert all(re.fullmatch(r"[a-zA-Z]+\.[0-9a-f]{12}", file) for file in files)
    assert all(f" {file})" in str(rollback) for file, (_, rollback) in zip(files, commands, strict=True))


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


@pytest.mark.soak
@pytest.mark.parametrize("commands", [action_command, revert_command])
@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_the_real_kubectl_reads_every_command(kind: ActionKind, commands: Callable[[Action], str | None]) -> None:
    """It fails only because there is no cluster, not at a flag or an argument."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not installed")
    command = commands(Action(kind, LLM, gpus=(GPU,), target="node-1", amount=1, current=1, maximum=1))
    for part in re.split(r" && | \|\| ", command or ""):
        words = shlex.split(re.sub(r"\"\$\(.*\)\"", "null", part.partition(" > ")[0]))
        if words[:1] == ["kubectl"]:
            done = subprocess.run([*words, "--server=http://127.0.0.1:1"], capture_output=True, text=True, check=False)
            assert "127.0.0.1:1 was refused" in done.stderr, done.stderr


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
