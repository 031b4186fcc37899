"""Commands of actions, for a shell.

The objects are known by their names in telemetry alone: names that differ in the cluster have to be adapted.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

from foreshock_dashboard.model.action import Action, ActionKind
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.render.clause import filled_text, in_words
from foreshock_dashboard.render.units import host_list, percent
from foreshock_dashboard.render.words.actions import (
    COMMAND_SIDE_EFFECTS,
    GATEWAYS,
    HOW_TO,
    LITELLM,
    NO_ROLLBACK,
    SIDE_EFFECTS,
)

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A Kubernetes name as of RFC 1123: namespaces, and here also services, which are taken for deployments."""
NODE = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""A name of a Kubernetes node."""
CLUSTER = re.compile(r"[\w.:@][\w.:@/-]{0,252}", re.ASCII)
"""A name of a cluster, taken for that of a context."""
GPU_UUID = re.compile(r"(GPU|MIG)-[0-9a-zA-Z/-]{1,80}")
DEPLOYMENT = "deployment/{}"
ENVOY_FIELDS: Mapping[ActionKind, str] = {"limit_rate": "rateLimit", "shed_load": "faultInjection"}
"""What an action sets in the spec of a BackendTrafficPolicy of Envoy Gateway, by kind."""

Make = Callable[[Action], Sequence[Sequence[str]]]
"""Makes the commands of an action, each in words."""


class _NoCommandError(Exception):
    """An object is unknown, or its name is no valid one."""


def action_command(action: Action) -> str | None:
    """A command for an action; None where an object is unknown or has no valid Kubernetes name.

    Names in telemetry may come from any sender: only valid names are used, and all words are quoted.
    """
    command = _command(COMMANDS, action)
    if not command or not _envoy_field(action):
        return command
    saved = f"{_save_setting(action)} && {command}"
    return _per_replica(saved, action.rate_limit.requests) if action.kind == "limit_rate" else saved


def revert_command(action: Action) -> str | None:
    """The command that takes back what `action_command` does; None where there is none, or a value is unknown."""
    if not _command(COMMANDS, action):
        return None
    return _restore_setting(action) if _envoy_field(action) else _command(REVERT_COMMANDS, action)


def side_effect(action: Action) -> str:
    """What an action changes besides its effect, to be read before its command; "" for nothing."""
    hosts = [in_words(host) for host in sorted({*_hosts(action)})]
    by_kind = {**SIDE_EFFECTS, **(COMMAND_SIDE_EFFECTS if _command(COMMANDS, action) else {})}
    return filled_text(
        by_kind.get(action.kind, ""),
        service=in_words(str(action.service)) if action.service else "",
        target=in_words(action.target),
        hosts=host_list(hosts) if hosts else "",
        rejected=_rejected(action),
    )


InstructionKind = Literal["how", "note", "revert"]


class InstructionRow(NamedTuple):
    """A command, or a sentence without its full stop. name: the key of its label in `ACTION_TEXTS`."""

    name: str
    text: str
    is_command: bool


class Instructions(NamedTuple):
    """How a person takes an action.

    kind: what the text says: how to take an action without a command, what to know before the command is run, or how
    to revert it without a revert command. text: "" for nothing.
    """

    kind: InstructionKind
    text: str
    command: str | None
    revert_command: str | None

    def rows(self) -> list[InstructionRow]:
        """What is to be read, in this order."""
        said = InstructionRow(self.kind, self.text, is_command=False)
        rows = [
            *([] if self.kind == "revert" else [said]),
            InstructionRow("command", self.command or "", is_command=True),
            said if self.kind == "revert" else InstructionRow("revert", self.revert_command or "", is_command=True),
        ]
        return [row for row in rows if row.text]


def instructions(action: Action) -> Instructions:
    """How to take and to revert an action."""
    command, revert = action_command(action), revert_command(action)
    kind: InstructionKind = "how" if not command else "note" if revert else "revert"
    return Instructions(kind, how_to(action), command, revert)


def how_to(action: Action) -> str:
    """How to take an action without a command; else what to know before its command is run, or ""."""
    command = _command(COMMANDS, action)
    if command and _envoy_field(action):
        return GATEWAYS[action.kind]
    if action.kind == "limit_rate" and command:
        return LITELLM
    if action.kind == "pause" and command and not revert_command(action):
        return NO_ROLLBACK
    service = in_words(str(action.service)) if action.service else "the service"
    share = percent(action.amount) if action.amount > 0 else "some"
    return filled_text(HOW_TO.get(action.kind, ""), share=share, service=service)


def _rejected(action: Action) -> str:
    """What a rate limit rejects: `About 62% of front requests`; without rates, `Excess requests`."""
    limit = action.rate_limit.per_second or action.amount  # without a command, the amount itself
    share = 1 - limit / action.current if action.current > 0 and limit > 0 else 0.0
    whose = f"{action.service.name} " if action.service else ""
    return f"About {percent(share)} of {whose}requests" if share > 0 else "Excess requests"


def _command(commands: Mapping[ActionKind, Make], action: Action) -> str | None:
    make = commands.get(action.kind)
    try:
        lines = make(action) if make else ()
    except _NoCommandError:
        return None
    return " && ".join(map(shlex.join, lines)) or None


def _valid(pattern: re.Pattern[str], name: str) -> str:
    if not pattern.fullmatch(name):
        raise _NoCommandError
    return name


def _kubectl(service: Service | None, *words: str) -> Sequence[str]:
    """A command in the namespace of a service; `{}` in the words stands for its name."""
    if service is None:
        raise _NoCommandError
    namespace, name = _valid(LABEL, service.local.namespace), _valid(LABEL, service.name)
    return [*_in_cluster(service.cluster), "-n", namespace, *(word.replace("{}", name) for word in words)]


def _in_cluster(cluster: str) -> Sequence[str]:
    """`kubectl`; where there are several clusters, it fails without a context of this name."""
    return ["kubectl", "--context", _valid(CLUSTER, cluster)] if cluster else ["kubectl"]


def _count(replicas: float) -> int:
    if not 0 < replicas < math.inf:
        raise _NoCommandError
    return round(replicas)


def _scale_to(service: Service | None, replicas: int) -> Sequence[str]:
    return _kubectl(service, "scale", DEPLOYMENT, f"--replicas={replicas}")


def _set_maximum(service: Service | None, replicas: int) -> Sequence[str]:
    return [*_kubectl(service, "patch", "hpa/{}"), "--patch", json.dumps({"spec": {"maxReplicas": replicas}})]


def _add_replicas(action: Action) -> Sequence[Sequence[str]]:
    """Scale; where the autoscaler would revert that, raise its maximum before."""
    total = _count(action.total)
    raised = [_set_maximum(action.service, total)] if action.exceeds_maximum else []
    return [*raised, _scale_to(action.service, total)]


def _pause(action: Action) -> Sequence[Sequence[str]]:
    """Scale to zero; where the number of replicas is unknown, print it before."""
    shown = [] if action.current > 0 else [_kubectl(action.service, "get", DEPLOYMENT)]
    return [*shown, _scale_to(action.service, 0)]


def _remove_replicas(action: Action) -> Sequence[Sequence[str]]:
    """Scale back, and restore the autoscaler's maximum after that."""
    lowered = [_set_maximum(action.service, _count(action.maximum))] if action.exceeds_maximum else []
    return [_scale_to(action.service, _count(action.current)), *lowered]


def _roll_back(action: Action) -> Sequence[Sequence[str]]:
    """Go back to a revision; where it is unknown, by one, and where a version is named, list the revisions before."""
    if action.amount >= 1:
        return [_kubectl(action.service, "rollout", "undo", DEPLOYMENT, f"--to-revision={action.amount:.0f}")]
    listed = [_kubectl(action.service, "rollout", "history", DEPLOYMENT)] if action.target else []
    return [*listed, _kubectl(action.service, "rollout", "undo", DEPLOYMENT)]


def _envoy_field(action: Action) -> str:
    """The field of a policy of Envoy Gateway that the command of an action sets; "" where it sets none.

    The limit of a client at one callee is set in LiteLLM.
    """
    is_team_limit = action.kind == "limit_rate" and action.callee is not None
    return "" if is_team_limit else ENVOY_FIELDS.get(action.kind, "")


def _policy(service: Service | None, verb: str, *options: str) -> Sequence[str]:
    """A command on the policy of a route in Envoy Gateway, which is taken to have the name of the service."""
    return _kubectl(service, verb, "backendtrafficpolicy/{}", *options)


def _setting(field: str, value: str) -> str:
    """A JSON patch of a field of a policy. value: JSON that replaces an earlier one as a whole; `null` removes it."""
    return f'[{{"op":"add","path":"/spec/{field}","value":{value}}}]'


def _set_policy(action: Action, value: Mapping[str, object]) -> Sequence[Sequence[str]]:
    patch = _setting(_envoy_field(action), json.dumps(value, separators=(",", ":")))
    return [[*_policy(action.service, "patch", "--type=json"), "--patch", patch]]


def _per_replica(command: str, requests: int) -> str:
    """Divide the requests of a limit, which each Envoy replica has for itself, by a number that a person sets before.

    Without the number, it ends with the shell's reason and changes nothing: a wrong one would allow too much. In a
    subshell, that does not end the script or terminal in which it runs. The limit of a replica is at least 1: 0 would
    reject every request.
    """
    share = f"{requests} / ENVOY_REPLICAS"
    divided = f"""'"$(({share} > 0 ? {share} : 1))"'"""
    limited = command.replace(f'"requests":{requests}', f'"requests":{divided}')
    return f'(: "${{ENVOY_REPLICAS:?set it to the number of Envoy replicas}}" && {limited})'


def _save_setting(action: Action) -> str:
    """Save the field that a command sets: a line of JSON, empty where it is not set.

    A file with content stays until a rollback: run again, the command would save what it has set. A failed command
    leaves it empty.
    """
    shown = _policy(action.service, "get", "-o", f'jsonpath={{.spec.{_envoy_field(action)}}}{{"\\n"}}')
    file = _setting_file(action)
    return f"test -s {file} || {shlex.join(shown)} > {file}"


def _restore_setting(action: Action) -> str:
    """Set the field to the saved value, or remove it if it was not set, and remove the file.

    Without a saved setting it ends with the shell's reason: kubectl takes a value that is missing for null, which would
    remove the field. The next command saves again: the setting may have changed meanwhile. In a subshell, neither the
    variable nor the end of the shell reaches the script or terminal in which it runs.
    """
    file = _setting_file(action)
    patch = shlex.join(_policy(action.service, "patch", "--type=json"))
    value = f"""'"${{saved:?none in {file}}}"'"""
    restored = f"{patch} --patch '{_setting(_envoy_field(action), value)}'"
    return f"(saved=$(sed 's/^$/null/' {file}) && {restored} && rm {file})"


def _setting_file(action: Action) -> str:
    """The file of an earlier setting, which all incidents of a service share: `rateLimit.1a2b3c4d5e6f`.

    The hash distinguishes services and clusters: in a name, they would be long and need quotes. A checksum would not:
    names come from any sender, and two of the same checksum are easily found.
    """
    return f"{_envoy_field(action)}.{hashlib.sha256(str(action.service).encode()).hexdigest()[:12]}"


def _set_team_limit(service: Service | None, requests: int | None) -> Sequence[Sequence[str]]:
    """Set the requests per minute of a team in LiteLLM; None removes the limit (docs.litellm.ai, Setting Team Budgets).

    Its command `lite`, before called `litellm-proxy`, takes the address and the key from the environment.
    """
    if service is None:
        raise _NoCommandError
    team = json.dumps({"team_id": _valid(LABEL, service.name), "rpm_limit": requests}, separators=(",", ":"))
    return [["lite", "http", "request", "POST", "/team/update", "--json", team]]


def _limit_rate(action: Action) -> Sequence[Sequence[str]]:
    """Limit the requests of a client: at the LiteLLM proxy, or in Envoy Gateway, where each proxy has the limit."""
    limit = action.rate_limit
    if not limit.requests:
        raise _NoCommandError
    if action.callee is not None:
        return _set_team_limit(action.service, limit.requests)
    return _set_policy(action, {"type": "Local", "local": {"rules": [{"limit": limit._asdict()}]}})


def _shed_load(action: Action) -> Sequence[Sequence[str]]:
    """Answer a share of the requests of a route with HTTP 503 in Envoy Gateway."""
    if not 0.005 <= action.amount <= 1.0:
        raise _NoCommandError
    return _set_policy(action, {"abort": {"httpStatus": 503, "percentage": round(action.amount * 100)}})


def _limit_batch(action: Action) -> Sequence[Sequence[str]]:
    """Start the first container of vLLM with a further argument: of an option that is given twice, the last counts."""
    argument = {
        "op": "add",
        "path": "/spec/template/spec/containers/0/args/-",
        "value": f"--max-num-seqs={_count(action.amount)}",
    }
    return [[*_kubectl(action.service, "patch", DEPLOYMENT, "--type=json"), "--patch", json.dumps([argument])]]


def _undo_rollout(action: Action) -> Sequence[Sequence[str]]:
    return [_kubectl(action.service, "rollout", "undo", DEPLOYMENT)]


def _resume(action: Action) -> Sequence[Sequence[str]]:
    return [_scale_to(action.service, _count(action.current))]


def _on_nodes(verb: str, hosts: Iterable[str], *options: str) -> Sequence[str]:
    """A command on nodes of one cluster."""
    nodes = sorted(map(split_cluster, set(hosts)))
    if len({cluster for cluster, _ in nodes}) != 1:
        raise _NoCommandError
    return [*_in_cluster(nodes[0][0]), verb, *(_valid(NODE, name) for _, name in nodes), *options]


def _hosts(action: Action) -> Iterator[str]:
    return (gpu.host for gpu in action.gpus)


def _reschedule(action: Action) -> Sequence[Sequence[str]]:
    """Keep new pods off the hosts of the GPUs, and start the service's pods again elsewhere."""
    return [_on_nodes("cordon", _hosts(action)), _kubectl(action.service, "rollout", "restart", DEPLOYMENT)]


def _inspect_gpus(action: Action) -> Sequence[Sequence[str]]:
    uuids = [_valid(GPU_UUID, gpu.uuid) for gpu in action.gpus]
    if not uuids:
        raise _NoCommandError
    return [["nvidia-smi", "-q", "-d", "ECC,PERFORMANCE,POWER", "-i", ",".join(uuids)]]


COMMANDS: Mapping[ActionKind, Make] = {
    "add_replicas": _add_replicas,
    "drain_gpus": _reschedule,
    "drain_host": lambda action: [_on_nodes("drain", [action.target], "--ignore-daemonsets", "--delete-emptydir-data")],
    "inspect_deploys": lambda action: [_kubectl(action.service, "rollout", "history", DEPLOYMENT)],
    "inspect_gpus": _inspect_gpus,
    "inspect_replicas": lambda action: [_kubectl(action.service, "describe", DEPLOYMENT)],
    "limit_batch": _limit_batch,
    "limit_rate": _limit_rate,
    "move_off_gpus": _reschedule,
    "pause": _pause,
    "raise_replica_limit": lambda action: [_set_maximum(action.service, _count(action.current) + 1)],
    "restart": lambda action: [_kubectl(action.service, "rollout", "restart", DEPLOYMENT)],
    "roll_back": _roll_back,
    "shed_load": _shed_load,
}
"""Commands by kind; the others need a tool or an object that telemetry does not name."""
REVERT_COMMANDS: Mapping[ActionKind, Make] = {
    "add_replicas": _remove_replicas,
    "drain_gpus": lambda action: [_on_nodes("uncordon", _hosts(action))],
    "drain_host": lambda action: [_on_nodes("uncordon", [action.target])],
    "limit_batch": _undo_rollout,
    "limit_rate": lambda action: _set_team_limit(action.service, None),
    "move_off_gpus": lambda action: [_on_nodes("uncordon", _hosts(action))],
    "pause": _resume,
    "raise_replica_limit": lambda action: [_set_maximum(action.service, _count(action.current))],
    "roll_back": _undo_rollout,
}
"""How to take actions back, by kind; none where a value before is unknown. Settings of Envoy Gateway are saved."""
