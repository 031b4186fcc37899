"""Commands of actions, for a shell.

The objects are known by their names in telemetry alone: names that differ in the cluster have to be adapted.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from foreshock_dashboard.model.action import Action, ActionKind
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.units import host_list, percent
from foreshock_dashboard.render.words.actions import (
    COMMAND_SIDE_EFFECTS,
    ENVOY_SIDE_EFFECTS,
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
MAX_CLUSTER_LENGTH = 60
"""Characters of a cluster in a file name, which with namespace and service has at most 255."""
GPU_UUID = re.compile(r"(GPU|MIG)-[0-9a-zA-Z/-]{1,80}")
DEPLOYMENT = "deployment/{}"
ENVOY_GATEWAY_OBJECT = "backendtrafficpolicy/"

Make = Callable[[Action], Sequence[Sequence[str]]]
"""Makes the commands of an action, each in words."""


class _NoCommandError(Exception):
    """An object is unknown, or its name is no valid one."""


def action_command(action: Action, opened: float | None = None) -> str | None:
    """A command for an action; None where an object is unknown or has no valid Kubernetes name.

    Names in telemetry may come from any sender: only valid names are used, and all words are quoted. opened: Unix
    seconds at which the incident of the action opened; without it, no command that saves a policy to a file first.
    """
    command = _command(COMMANDS, action)
    if command is None or ENVOY_GATEWAY_OBJECT not in command:
        return command
    return f"{_save_policy(action.service, opened)} && {command}" if action.service and opened is not None else None


def revert_command(action: Action) -> str | None:
    """The command that takes back what `action_command` does; None where there is none, or a value is unknown."""
    return _command(REVERT_COMMANDS, action) if _command(COMMANDS, action) else None


def side_effect(action: Action) -> str:
    """What an action changes besides its effect, to be read before its command; "" for nothing."""
    command = _command(COMMANDS, action) or ""
    hosts = [in_words(host) for host in sorted({*_hosts(action)})]
    by_kind = {
        **SIDE_EFFECTS,
        **(COMMAND_SIDE_EFFECTS if command else {}),
        **(ENVOY_SIDE_EFFECTS if ENVOY_GATEWAY_OBJECT in command else {}),
    }
    return by_kind.get(action.kind, "").format(
        service=in_words(str(action.service)) if action.service else "",
        target=in_words(action.target),
        hosts=host_list(hosts) if hosts else "",
        limit=action.rate_limit.requests,
        unit=action.rate_limit.unit.lower(),
        rejected=_rejected(action),
    )


def how_to(action: Action, opened: float | None = None) -> str:
    """How to take an action without a command; else for which gateway the command is, or how to revert it, or "".

    opened: as for `action_command`.
    """
    command = action_command(action, opened) or ""
    if ENVOY_GATEWAY_OBJECT in command and action.service and opened is not None:
        return GATEWAYS[action.kind].format(file=_policy_file(action.service, opened))
    if action.kind == "limit_rate" and command:
        return LITELLM
    if action.kind == "pause" and command and not revert_command(action):
        return NO_ROLLBACK
    service = in_words(str(action.service)) if action.service else "the service"
    share = percent(action.amount) if action.amount > 0 else "some"
    return HOW_TO.get(action.kind, "").format(share=share, service=service)


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


def _save_policy(service: Service, opened: float) -> str:
    """Save the policy of a route to a file before it changes: the rollback removes an earlier setting too.

    A file with content stays: run again, the command would save the setting that it made.
    """
    shown = shlex.join([*_kubectl(service, "get", f"{ENVOY_GATEWAY_OBJECT}{{}}"), "-o", "yaml"])
    file = _policy_file(service, opened)
    return f"test -s {file} || {shown} > {file}"


def _policy_file(service: Service, opened: float) -> str:
    """Where the policy of a service is saved in one incident: `llm.serving.eu.btp.20260105T084200Z.yaml`.

    `btp` is what kubectl calls a BackendTrafficPolicy in short. A cluster that is long, or has characters that a shell
    or a file system may take for something else, such as those of an ARN, is replaced by what is left and a checksum.
    """
    kept = re.sub(r"[^a-z0-9._-]+", "-", service.cluster.lower())[:MAX_CLUSTER_LENGTH]
    cluster = kept if kept == service.cluster else f"{kept}-{zlib.crc32(service.cluster.encode()):08x}"
    time = datetime.fromtimestamp(opened, UTC).strftime("%Y%m%dT%H%M%SZ")
    parts = (service.name, service.local.namespace, *([cluster] if cluster else []), "btp", time)
    return f"{'.'.join(parts)}.yaml"


def _set_rate_limit(service: Service | None, limit: Mapping[str, object] | None) -> Sequence[Sequence[str]]:
    """Set the rate limit of a route in Envoy Gateway; None removes it."""
    patch = json.dumps({"spec": {"rateLimit": limit}}, separators=(",", ":"))
    return [[*_kubectl(service, "patch", f"{ENVOY_GATEWAY_OBJECT}{{}}", "--type=merge"), "--patch", patch]]


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
    return _set_rate_limit(action.service, {"type": "Local", "local": {"rules": [{"limit": limit._asdict()}]}})


def _unlimit_rate(action: Action) -> Sequence[Sequence[str]]:
    return _set_team_limit(action.service, None) if action.callee is not None else _set_rate_limit(action.service, None)


def _set_abort(service: Service | None, share: float | None) -> Sequence[Sequence[str]]:
    """Answer a share of the requests of a route with HTTP 503 in Envoy Gateway; None stops that."""
    abort = None if share is None else {"abort": {"httpStatus": 503, "percentage": round(share * 100)}}
    patch = json.dumps({"spec": {"faultInjection": abort}}, separators=(",", ":"))
    return [[*_kubectl(service, "patch", f"{ENVOY_GATEWAY_OBJECT}{{}}", "--type=merge"), "--patch", patch]]


def _shed_load(action: Action) -> Sequence[Sequence[str]]:
    if not 0.005 <= action.amount <= 1.0:
        raise _NoCommandError
    return _set_abort(action.service, action.amount)


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
    "limit_rate": _unlimit_rate,
    "move_off_gpus": lambda action: [_on_nodes("uncordon", _hosts(action))],
    "pause": _resume,
    "raise_replica_limit": lambda action: [_set_maximum(action.service, _count(action.current))],
    "roll_back": _undo_rollout,
    "shed_load": lambda action: _set_abort(action.service, None),
}
"""How to take actions back, by kind; none where a value before is unknown."""
