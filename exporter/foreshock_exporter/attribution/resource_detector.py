"""What a service says of itself so that its spans meet what is measured of its GPUs: a detector of OpenTelemetry.

It runs in the service, not in the exporter: `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=foreshock`. It reads four small files
and some variables, asks no driver, and never raises; what it does not find it leaves out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from opentelemetry.sdk.resources import Resource, ResourceDetector

from foreshock_exporter.attribution.cgroup import parse_cgroup, placement
from foreshock_exporter.attribution.host_identity import host_id

VISIBLE_GPUS = "foreshock.gpu.visible"
"""The GPUs that the process may use: indexes or uuids, as its variables give them."""
MAX_FILE_BYTES = 1 << 20
"""Bytes of a file that are read."""
MAX_VISIBLE_GPUS = 128
"""GPUs that are told, and characters of each."""

_POD = re.compile(r"/pods/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")
_POD_MOUNTS = ("/etc/hosts", "/dev/termination-log")
"""What the kubelet mounts into every container from the pod's folder."""
_CONTAINER = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf|\.containerenv)$")
_CONTAINER_MOUNTS = ("/run/.containerenv", "/etc/hostname", "/etc/resolv.conf", "/etc/hosts")
"""What Podman, Docker and nerdctl mount into a container from its own folder; the surest first."""
_MARKS = (".dockerenv", "run/.containerenv")
_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NONE = frozenset({"none", "void", "nodevfiles"})


class ContainerIds(NamedTuple):
    """The container and the pod that a process is in; None where it is in none, or nothing says so."""

    container: str | None
    pod: str | None


class ForeshockResourceDetector(ResourceDetector):
    """Finds host.id, process.pid, container.id, k8s.pod.uid and foreshock.gpu.visible.

    Args:
        raise_on_error: as the SDK has it; there is nothing to raise.
        root: where the file system of the process begins.
        environ: its variables.
    """

    def __init__(
        self, raise_on_error: bool = False, *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
    ) -> None:
        super().__init__(raise_on_error)
        self._root, self._environ = root, environ

    def detect(self) -> Resource:
        """What there is to say of this process now."""
        mounts = parse_mountinfo(_read(self._root / "proc/self/mountinfo"))
        found = container_ids(_read(self._root / "proc/self/cgroup"), mounts)
        visible = visible_gpus(self._environ)
        attributes: dict[str, str | int | tuple[str, ...]] = {"process.pid": os.getpid()}
        if not self._contained(found) or any(path in mounts for path in _MACHINE_ID):
            attributes["host.id"] = host_id(self._root, fallback="")
        attributes |= {"container.id": found.container or "", "k8s.pod.uid": found.pod or ""}
        known = {name: value for name, value in attributes.items() if value != ""}
        return Resource(known if visible is None else {**known, VISIBLE_GPUS: visible})

    def is_process_dependent(self) -> bool:
        """A fork has another pid."""
        return True

    def _contained(self, found: ContainerIds) -> bool:
        """Whether the machine id that is seen may be one that an image brought along, the same in all its copies."""
        marked = any(os.path.exists(self._root / mark) for mark in _MARKS)  # noqa: PTH110 - Path.exists may raise
        return marked or found != (None, None) or "KUBERNETES_SERVICE_HOST" in self._environ


def parse_mountinfo(text: str) -> dict[str, str]:
    """Where in its own file system begins what is mounted at each place (proc_pid_mountinfo(5), fields 5 and 4)."""
    lines = (line.split(" ", 5) for line in text.splitlines())
    return {fields[4]: fields[3] for fields in lines if len(fields) > 5}


def container_ids(cgroup: str, mounts: Mapping[str, str]) -> ContainerIds:
    """The container and pod by /proc/self/cgroup, or by what is mounted where a cgroup namespace hides them.

    In a pod, mounts do not tell the container: its files are those of the pod's sandbox.
    """
    known = placement(parse_cgroup(cgroup))
    pod = known.pod or _first(_POD, _POD_MOUNTS, mounts)
    return ContainerIds(known.container or (None if pod else _first(_CONTAINER, _CONTAINER_MOUNTS, mounts)), pod)


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """By `CUDA_VISIBLE_DEVICES`, else `NVIDIA_VISIBLE_DEVICES`; empty where that says none, None where neither is set.

    CUDA ends its list at -1 (CUDA programming guide, environment variables).
    """
    given = environ.get("CUDA_VISIBLE_DEVICES", environ.get("NVIDIA_VISIBLE_DEVICES"))
    if given is None:
        return None
    entries = (entry.strip() for entry in given.split(","))
    usable = takewhile(lambda entry: entry != "-1", entries)
    found = [entry for entry in usable if entry and entry.isprintable() and entry.lower() not in _NONE]
    return tuple(entry[:MAX_VISIBLE_GPUS] for entry in found[:MAX_VISIBLE_GPUS])


def _first(pattern: re.Pattern[str], places: tuple[str, ...], mounts: Mapping[str, str]) -> str | None:
    found = (pattern.search(mounts.get(place, "")) for place in places)
    return next((match[1] for match in found if match), None)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
