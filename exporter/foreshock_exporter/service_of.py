"""The service of a process, from what the host's procfs says of it.

In this order, and the first that answers is the `source`: OpenTelemetry's variables in the environment of the process,
Kubernetes, Slurm, the systemd unit, the container, the executable.
"""

from __future__ import annotations

import os
import re
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

from foreshock_exporter.cgroup import Placement, parse_cgroup, placement
from foreshock_exporter.service import ServiceOf, Source

MAX_LABEL = 128
"""Characters of a namespace or name; what is longer is cut."""
MAX_ENVIRON = 1 << 20
"""Bytes of a process's environment that are read."""
MAX_CACHED = 4096
"""Processes remembered."""

_POD_SUFFIX = re.compile(r"(?:-(?:[4-9bcdf]{6,10}|\d{8,10}))?-[bcdfghjklmnpqrstvwxz2456789]{5}$|-\d+$")
"""What is added to the name of a Deployment (template hash, suffix), CronJob (schedule, suffix), DaemonSet or Job
(suffix), or StatefulSet (ordinal). Kubernetes writes hashes and suffixes without vowels."""
_INTERPRETER = re.compile(r"(?:python|pypy|ruby|node|perl|java)[\d.]*")


class ProcResolver:
    """Finds the service of a process, and remembers it by pid and start time.

    Args:
        procfs: where the host's /proc is.
        rootfs: where the host's / is, for the names of pods under /var/log/pods.
        environ: whether the environment of processes may be read (it needs root or CAP_SYS_PTRACE).
    """

    def __init__(self, procfs: Path, rootfs: Path, *, environ: bool = True) -> None:
        self._procfs = procfs
        self._pods = rootfs / "var" / "log" / "pods"
        self._environ = environ
        self._known: OrderedDict[tuple[int, str], ServiceOf] = OrderedDict()

    def __call__(self, pid: int) -> ServiceOf | None:
        """The service; None when the process is gone or may not be looked at."""
        folder = self._procfs / str(pid)
        started = start_time(_read(folder / "stat", 4096))
        if started is None:
            return None
        key = (pid, started)
        service = self._known.get(key)
        if service is None:
            service, final = self._find(folder)
            if service is None or not final:
                return service
            self._known[key] = service
            if len(self._known) > MAX_CACHED:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(key)
        return service

    def _find(self, folder: Path) -> tuple[ServiceOf | None, bool]:
        """The service, and whether that is all that will ever be known of it: the names of a new pod come later."""
        environ = parse_environ(_read(folder / "environ", MAX_ENVIRON)) if self._environ else {}
        if (service := from_environ(environ)) is not None:
            return service, True
        place = placement(parse_cgroup(_read(folder / "cgroup", 1 << 16).decode(errors="replace")))
        if place.pod is not None:
            named = from_pod(place.pod, _names(self._pods))
            return named or _service("", f"pod-{place.pod}", "kubernetes"), named is not None
        return from_placement(place, environ) or self._executable(folder), True

    @staticmethod
    def _executable(folder: Path) -> ServiceOf | None:
        try:
            executable = (folder / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            executable = _read(folder / "comm", 64).decode(errors="replace").strip()
        return _service("", program(executable, _read(folder / "cmdline", 1 << 16)), "executable")


def start_time(stat: bytes) -> str | None:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; the second field is a name that may hold anything."""
    fields = stat.rpartition(b")")[2].split()
    return fields[19].decode() if len(fields) > 19 else None


def parse_environ(raw: bytes) -> dict[str, str]:
    """Variables as the process was started with them; entries that are not `NAME=value` are left out."""
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, equals, value in pairs if equals}


def from_environ(environ: Mapping[str, str]) -> ServiceOf | None:
    """`OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES` (OpenTelemetry's Resource SDK)."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name", "")
    return _service(attributes.get("service.namespace", ""), name, "otel")


def from_pod(uid: str, entries: tuple[str, ...]) -> ServiceOf | None:
    """The workload of the pod with this uid, by an entry `<namespace>_<pod>_<uid>` of /var/log/pods."""
    for entry in entries:
        namespace, _, rest = entry.partition("_")
        pod, _, found = rest.partition("_")
        if pod and found.replace("-", "") == uid.replace("-", ""):
            return _service(namespace, workload(pod), "kubernetes")
    return None


def workload(pod: str) -> str:
    """The name of what made the pod, without what tells its replicas apart."""
    return _POD_SUFFIX.sub("", pod) or pod


def from_placement(place: Placement, environ: Mapping[str, str]) -> ServiceOf | None:
    """A Slurm job by its name, else a systemd unit, else a container by the first 12 digits of its id."""
    if place.slurm_job is not None:
        return _service("", environ.get("SLURM_JOB_NAME", "") or f"slurm-job-{place.slurm_job}", "slurm")
    if place.unit is not None:
        return _service("", place.unit, "systemd")
    if place.container is not None:
        return _service("", f"container-{place.container[:12]}", "container")
    return None


def program(executable: str, cmdline: bytes) -> str:
    """The name of a program: that of its executable, or of the script or module that an interpreter runs."""
    if not _INTERPRETER.fullmatch(executable):
        return executable
    arguments = [argument.decode(errors="replace") for argument in cmdline.split(b"\0")[1:] if argument]
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in ("-m", "-jar"):
            return Path(argument).name
        if argument == "-c":
            break
        if not argument.startswith("-") and before not in ("-W", "-X"):
            return Path(argument).stem or executable
    return executable


def clean(text: str) -> str:
    """A label value: printable characters, single spaces, at most `MAX_LABEL` of them."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())[:MAX_LABEL]


def _service(namespace: str, name: str, source: Source) -> ServiceOf | None:
    name = clean(name)
    return ServiceOf(clean(namespace), name, source) if name else None


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - names only, a hundred of them each second
    except OSError:
        return ()


def _read(path: Path, most: int) -> bytes:
    """The first bytes of a file; none where it is missing or may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(most)
    except OSError:
        return b""
