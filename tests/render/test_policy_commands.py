"""Commands that set and roll back a field of a policy, run in a shell with the real kubectl."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from foreshock_dashboard.model.action import Action, ActionKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import Gpu
from foreshock_dashboard.render.command import COMMANDS, action_command, revert_command

KUBECTL = Path(__file__).parents[2] / "node_modules/.kubernetes/kubectl/kubectl"
pytestmark = pytest.mark.skipif(not KUBECTL.exists(), reason="kubectl is not installed; `make setup-tests` installs it")

LLM, FRONT = Service("serving", "llm-chat"), Service("product", "front")
GPU = Gpu("host-1", "0", "GPU-1b2c")
LIMITED = '{"type":"Local","local":{"rules":[{"limit":{"requests":266,"unit":"Minute"}}]}}'
ABORT = '{"abort":{"httpStatus":503,"percentage":20}}'
LIMITING, SHEDDING = Action("limit_rate", LLM, amount=4.44), Action("shed_load", LLM, amount=0.2)
POLICY_KUBECTL = """#!/bin/sh
echo $3 >> calls
test ! -e fails || exit 1
case $3 in
get) exec {kubectl} patch --local -f policy.json --type=json --patch '[]' "$5" "$6" ;;
patch) {kubectl} patch --local -f policy.json "$5" "$6" "$7" -o json > new.json && mv new.json policy.json ;;
esac
"""
"""Changes one policy in a file instead of a cluster; with a file `fails`, it has no connection."""


class Cluster:
    """A folder with a kubectl and a policy, in which commands run."""

    def __init__(self, folder: Path, spec: Mapping[str, object]) -> None:
        self.folder = folder
        self.output = self.errors = ""
        kubectl = folder / "kubectl"
        kubectl.write_text(POLICY_KUBECTL.format(kubectl=KUBECTL))
        kubectl.chmod(0o755)
        self.set(spec)

    def set(self, spec: Mapping[str, object]) -> None:
        """Sets the spec of the policy, as another person would."""
        kind = {"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "BackendTrafficPolicy"}
        policy = {**kind, "metadata": {"name": "llm-chat"}, "spec": spec}
        (self.folder / "policy.json").write_text(json.dumps(policy))

    def run(self, command: str | None) -> list[str]:
        """The verbs that a command calls kubectl with."""
        assert command
        calls = self.folder / "calls"
        calls.write_text("")
        environment = {"PATH": f"{self.folder}:{os.environ['PATH']}", "HOME": str(self.folder), "ENVOY_REPLICAS": "1"}
        done = subprocess.run(
            ["sh", "-c", command], cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        self.output, self.errors = done.stdout, done.stderr
        return calls.read_text().split()

    @property
    def spec(self) -> dict[str, object]:
        """The spec of the policy without null, which the API server drops from custom resources."""
        spec = json.loads((self.folder / "policy.json").read_text())["spec"]
        return {name: value for name, value in spec.items() if value is not None}


GLOBAL_LIMIT = {"type": "Global", "global": {"rules": [{"limit": {"requests": 9, "unit": "Hour"}}]}}
EARLIER_FAULT = {"delay": {"fixedDelay": "1s's", "percentage": 5}}


@pytest.mark.parametrize("earlier", [None, {"rateLimit": GLOBAL_LIMIT, "faultInjection": EARLIER_FAULT}])
@pytest.mark.parametrize(
    ("action", "field", "value"), [(LIMITING, "rateLimit", LIMITED), (SHEDDING, "faultInjection", ABORT)]
)
def test_one_rollback_restores_an_earlier_setting_of_a_policy_or_removes_the_new_one(
    tmp_path: Path, action: Action, field: str, value: str, earlier: Mapping[str, object] | None
) -> None:
    """Also after a second run, which saves nothing, as it would save what the first one set."""
    before = {"targetRefs": [{"kind": "HTTPRoute", "name": "llm-chat"}], **(earlier or {})}
    cluster = Cluster(tmp_path, before)
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
        cluster.set(earlier)
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
    for action, calls in ((first, ["patch"]), (second, [])):
        assert cluster.run(revert_command(action)) == calls
        assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


def test_a_limit_is_divided_by_the_number_of_envoy_replicas(tmp_path: Path) -> None:
    """Each has the limit for itself, and only who runs the command knows how many there are. None rejects all."""
    cluster = Cluster(tmp_path, {})
    command = action_command(LIMITING)
    assert command
    for replicas, requests in ((1, 266), (2, 133), (3, 88), (266, 1), (267, 1), (1000, 1)):
        cluster.run(f"ENVOY_REPLICAS={replicas}; {command}")
        assert cluster.spec == {"rateLimit": json.loads(LIMITED.replace("266", str(requests)))}


def test_a_limit_without_the_number_of_envoy_replicas_changes_nothing_and_says_why(tmp_path: Path) -> None:
    """Neither an empty one nor none; what follows in a script runs."""
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    for setting in ("unset ENVOY_REPLICAS", "ENVOY_REPLICAS="):
        assert cluster.run(f"{setting}; {action_command(LIMITING)}; echo next") == []
        assert "ENVOY_REPLICAS: set it to the number of Envoy replicas" in cluster.errors
        assert cluster.output.splitlines() == ["next"]
        assert not list(tmp_path.glob("rateLimit.*"))
        assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


def test_a_policy_that_cannot_be_saved_is_not_changed(tmp_path: Path) -> None:
    """A failed command leaves an empty file, which is no saved setting; a rollback changes nothing then."""
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    command, rollback = action_command(LIMITING), revert_command(LIMITING)
    (tmp_path / "fails").touch()
    assert cluster.run(command) == ["get"]
    (tmp_path / "fails").unlink()
    assert cluster.run(rollback) == []
    assert cluster.run(command) == ["get", "patch"]
    assert cluster.run(rollback) == ["patch"]
    assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


@pytest.mark.parametrize(("content", "reason"), [(None, "No such file or directory"), ("", "none in rateLimit.")])
def test_a_rollback_without_a_saved_setting_changes_nothing_and_says_why(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    """As in another directory. kubectl takes a missing value for null, which would remove the limit."""
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    rollback = revert_command(LIMITING)
    assert rollback
    if content is not None:
        (tmp_path / rollback.split()[-1].removesuffix(")")).write_text(content)
    assert cluster.run(rollback) == []
    assert reason in cluster.errors
    assert cluster.spec == {"rateLimit": GLOBAL_LIMIT}


@pytest.mark.parametrize("is_saved", [True, False])
def test_a_rollback_leaves_no_variable_and_does_not_end_the_script_that_runs_it(
    tmp_path: Path, *, is_saved: bool
) -> None:
    cluster = Cluster(tmp_path, {"rateLimit": GLOBAL_LIMIT})
    rollback = revert_command(LIMITING)
    assert rollback
    (tmp_path / rollback.split()[-1].removesuffix(")")).write_text("{}\n" if is_saved else "")
    assert cluster.run(f'{rollback}; echo "next: ${{saved-unset}}"') == ["patch"] * is_saved
    assert "next: unset" in cluster.output.splitlines()


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


@pytest.mark.soak
@pytest.mark.parametrize("commands", [action_command, revert_command])
@pytest.mark.parametrize("kind", sorted(COMMANDS))
def test_the_real_kubectl_reads_every_command(kind: ActionKind, commands: Callable[[Action], str | None]) -> None:
    """It fails only because there is no cluster, not at a flag or an argument."""
    command = commands(Action(kind, LLM, gpus=(GPU,), target="node-1", amount=1, current=1, maximum=1))
    for part in re.split(r" && | \|\| ", (command or "").removeprefix("(").removesuffix(")")):
        words = shlex.split(re.sub(r"\"\$[({].*[)}]\"", "null", part).partition(" > ")[0])
        if words[:1] == ["kubectl"]:
            done = subprocess.run(
                [KUBECTL, *words[1:], "--server=http://127.0.0.1:1"], capture_output=True, text=True, check=False
            )
            assert "127.0.0.1:1 was refused" in done.stderr, done.stderr
