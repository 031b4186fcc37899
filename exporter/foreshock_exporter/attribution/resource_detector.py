"""OpenTelemetry resource detector that lets spans of a service join its GPU metrics.

Runs in the service, with `OTEL_EXPERIMENTAL_RESOURCE_DETECTORS=foreshock`. Reads four small files and some environment
variables, calls no driver, and never raises. Unknown attributes are left out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path

from opentelemetry.sdk.resources import Resource, ResourceDetector

from foreshock_exporter.attribution.cgroup import Placement, parse_cgroup, placement
from foreshock_exporter.attribution.host_identity import host_id

VISIBLE_GPUS = "foreshock.gpu.visible"
"""Attribute with the GPUs visible to the process: indexes or UUIDs, as in its environment variables."""
MAX_FILE_BYTES = 1 << 20
"""Bytes read of a file."""
MAX_VISIBLE_GPUS = 128
"""Limit of GPUs, and of characters per GPU."""

_POD = re.compile(r"/pods/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")
_POD_MOUNTS = ("/etc/hosts", "/dev/termination-log")
"""Files that the kubelet mounts from the pod's folder into every container."""
_CONTAINER = re.compile(r"/([0-9a-f]{64})/(?:userdata/)?(?:hostname|hosts|resolv\.conf|\.containerenv)$")
_CONTAINER_MOUNTS = ("/run/.containerenv", "/etc/hostname", "/etc/resolv.conf", "/etc/hosts")
"""Files that Podman, Docker, and nerdctl mount from the container's folder, most reliable first."""
_MARKS = (".dockerenv", "run/.containerenv")
_MACHINE_ID = ("/etc/machine-id", "/var/lib/dbus/machine-id")
_NONE = frozenset({"none", "void", "nodevfiles"})


class ForeshockResourceDetector(ResourceDetector):
    """Detects host.id, process.pid, container.id, k8s.pod.uid, and foreshock.gpu.visible below `root`."""

    def __init__(
        self, raise_on_error: bool = False, *, root: Path = Path("/"), environ: Mapping[str, str] = os.environ
    ) -> None:
        super().__init__(raise_on_error)
        self._root, self._environ = root, environ

    def detect(self) -> Resource:
        mounts = parse_mountinfo(_read(self._root / "proc/self/mountinfo"))
        ids = container_ids(_read(self._root / "proc/self/cgroup"), mounts)
        visible = visible_gpus(self._environ)
        attributes: dict[str, str | int | tuple[str, ...]] = {"process.pid": os.getpid()}
        if not self._contained(ids) or any(path in mounts for path in _MACHINE_ID):
            attributes["host.id"] = host_id(self._root, fallback="")
        attributes |= {"container.id": ids.container or "", "k8s.pod.uid": ids.pod or ""}
        present = {name: value for name, value in attributes.items() if value != ""}
        return Resource(present if visible is None else {**present, VISIBLE_GPUS: visible})

    def is_process_dependent(self) -> bool:
        """True: a forked process has another PID."""
        return True

    def _contained(self, ids: Placement) -> bool:
        """Whether the process runs in a container: its machine id may come from the image."""
        marked = any(os.path.exists(self._root / mark) for mark in _MARKS)  # noqa: PTH110 - Path.exists may raise
        return marked or bool(ids.pod or ids.container) or "KUBERNETES_SERVICE_HOST" in self._environ


def parse_mountinfo(text: str) -> dict[str, str]:
    """Root within its file system by mount point (proc_pid_mountinfo(5), fields 4 and 5)."""
    lines = (line.split(" ", 5) for line in text.splitlines())
    return {fields[4]: fields[3] for fields in lines if len(fields) > 5}


def container_ids(cgroup: str, mounts: Mapping[str, str]) -> Placement:
    """Container and pod from /proc/self/cgroup, or from mounts if a cgroup namespace hides them.

    In a pod, mounts do not show the container: the files belong to the pod's sandbox.
    """
    from_cgroup = placement(parse_cgroup(cgroup))
    pod = from_cgroup.pod or _first(_POD, _POD_MOUNTS, mounts)
    return Placement(pod, from_cgroup.container or (None if pod else _first(_CONTAINER, _CONTAINER_MOUNTS, mounts)))


def visible_gpus(environ: Mapping[str, str]) -> tuple[str, ...] | None:
    """GPUs of `CUDA_VISIBLE_DEVICES`, else `NVIDIA_VISIBLE_DEVICES`. Empty for none, None if neither is set.

    CUDA ends its list at -1 (CUDA programming guide, environment variables).
    """
    variable = environ.get("CUDA_VISIBLE_DEVICES", environ.get("NVIDIA_VISIBLE_DEVICES"))
    if variable is None:
        return None
    listed = (entry.strip() for entry in variable.split(","))
    usable = takewhile(lambda entry: entry != "-1", listed)
    entries = [entry for entry in usable if entry and entry.isprintable() and entry.lower() not in _NONE]
    return tuple(entry[:MAX_VISIBLE_GPUS] for entry in entries[:MAX_VISIBLE_GPUS])


def _first(pattern: re.Pattern[str], places: tuple[str, ...], mounts: Mapping[str, str]) -> str | None:
    matches = (pattern.search(mounts.get(place, "")) for place in places)
    return next((match[1] for match in matches if match), None)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES).decode(errors="replace")
    except OSError:
        return ""
