"""Example commands of actions, for a shell.

They have to be checked and adapted: the objects are known by their names in telemetry alone.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence

from foreshock_dashboard.model.action import Action, ActionKind
from foreshock_dashboard.model.service import Service

LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
"""A Kubernetes name as of RFC 1123: namespaces, and here also services, which are taken for deployments."""
NODE = re.compile(r"(?=.{1,253}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
"""A name of a Kubernetes node."""
GPU_UUID = re.compile(r"(GPU|MIG)-[0-9a-zA-Z/-]{1,80}")


DEPLOYMENT = "deployment/{}"


class _NoCommandError(Exception):
    """An object is unknown, or its name is no valid one."""


def action_command(action: Action) -> str | None:
    """A command for an action, to be adapted; None where an object is unknown or has no valid Kubernetes name.

    Names in telemetry may come from anybody: only valid names are used, and all words are quoted.
    """
    make = COMMANDS.get(action.kind)
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
    namespace, name = _valid(LABEL, service.namespace), _valid(LABEL, service.name)
    return ["kubectl", "-n", namespace, *(word.replace("{}", name) for word in words)]


def _count(replicas: float) -> int:
    if not 0 < replicas < math.inf:
        raise _NoCommandError
    return round(replicas)


def _scale(action: Action) -> Sequence[Sequence[str]]:
    return [_kubectl(action.service, "scale", DEPLOYMENT, f"--replicas={_count(action.current + action.amount)}")]


def _raise_maximum(action: Action) -> Sequence[Sequence[str]]:
    patch = json.dumps({"spec": {"maxReplicas": _count(action.current) + 1}})
    return [[*_kubectl(action.service, "patch", "hpa/{}"), "--patch", patch]]


def _reschedule(action: Action) -> Sequence[Sequence[str]]:
    """Keep new pods off the hosts of the GPUs, and start the service's pods again elsewhere."""
    hosts = sorted({_valid(NODE, gpu.host) for gpu in action.gpus})
    if not hosts:
        raise _NoCommandError
    return [["kubectl", "cordon", *hosts], _kubectl(action.service, "rollout", "restart", DEPLOYMENT)]


def _inspect_gpus(action: Action) -> Sequence[Sequence[str]]:
    uuids = [_valid(GPU_UUID, gpu.uuid) for gpu in action.gpus]
    if not uuids:
        raise _NoCommandError
    return [["nvidia-smi", "-q", "-d", "ECC,PERFORMANCE,POWER", "-i", ",".join(uuids)]]


COMMANDS: Mapping[ActionKind, Callable[[Action], Sequence[Sequence[str]]]] = {
    "add_replicas": _scale,
    "drain_gpus": _reschedule,
    "drain_host": lambda action: [
        ["kubectl", "drain", _valid(NODE, action.target), "--ignore-daemonsets", "--delete-emptydir-data"]
    ],
    "inspect_gpus": _inspect_gpus,
    "inspect_replicas": lambda action: [_kubectl(action.service, "describe", DEPLOYMENT)],
    "move_off_gpus": _reschedule,
    "pause": lambda action: [_kubectl(action.service, "scale", DEPLOYMENT, "--replicas=0")],
    "raise_replica_limit": _raise_maximum,
    "restart": lambda action: [_kubectl(action.service, "rollout", "restart", DEPLOYMENT)],
    "roll_back": lambda action: [_kubectl(action.service, "rollout", "undo", DEPLOYMENT)],
}
"""Commands by kind; others need tools that the platform chooses, such as a gateway or a service mesh."""
