"""The service of a process, from what the host's procfs says of it.

In this order, and the first that answers is the `source`: OpenTelemetry's variables in the environment of the process,
Kubernetes, Slurm, the systemd unit, the container, the executable.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from foreshock_exporter.attribution.cgroup import Placement, parse_cgroup, placement
from foreshock_exporter.common.labels import label_value
from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.service import AttributedService, Source

MAX_ENVIRON = 1 << 20
"""Bytes of a process's environment that are read."""
MAX_CACHED = 4096
"""Processes remembered."""
CHECK_PERIOD = 1.0
"""Seconds during which a pid is taken for the process it was: numbers come round after 32,768 new processes or more."""
POD_NAME_WAIT = 60.0
"""Seconds during which the name of a new pod is looked for again; the kubelet writes it before it starts containers."""

_POD_SUFFIX = re.compile(r"(?:-(?:[4-9bcdf]{6,10}|\d{8,10}))?-[bcdfghjklmnpqrstvwxz2456789]{5}$|-\d+$")
"""What is added to the name of a Deployment (template hash, suffix), CronJob (schedule, suffix), DaemonSet or Job
(suffix), or StatefulSet (ordinal). Kubernetes writes hashes and suffixes without vowels."""
_INTERPRETER = re.compile(r"(?:python|pypy|ruby|node|perl|java)[\d.]*t?")
_TITLE = re.compile(r"[A-Za-z][\w.+-]*")
_SPAWNED = b"--multiprocessing-fork"
"""Last argument of a process that Python's multiprocessing spawned; the others name nothing."""
MAX_PARENTS = 4
"""How far up from such a process is looked."""


class _Known(NamedTuple):
    """A process: when it started, its service, the uid of its pod if that has no name yet, when found and last seen."""

    started: str
    service: AttributedService
    pod: str | None
    found: float
    seen: float


class ProcResolver:
    """Finds the service of a process, once, and remembers it by pid and start time. Threads may share it.

    Args:
        procfs: where the host's /proc is.
        rootfs: where the host's / is, for the names of pods under /var/log/pods.
        environ: whether the environment of processes may be read (it needs root or CAP_SYS_PTRACE).
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self, procfs: Path, rootfs: Path, *, environ: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._procfs = procfs
        self._pods = rootfs / "var" / "log" / "pods"
        self._environ = environ
        self._now = now
        self._problems = ProblemLog()
        self._lock = threading.Lock()  # of what is known; never held while a file is read, which may hang
        self._known: dict[int, _Known] = {}

    def __call__(self, pid: int) -> AttributedService | None:
        """The service; None when the process is gone or may not be looked at."""
        now = self._now()
        known = self._known.get(pid)
        if known is not None and now - known.seen < CHECK_PERIOD:
            return known.service
        folder = self._procfs / str(pid)
        started = start_time(_read(folder / "stat", 4096))
        if started is None:
            known = None
        elif known is None or known.started != started:
            known = self._find(folder, started, now)
        elif known.pod is not None and now - known.found < POD_NAME_WAIT:
            known = self._named(known, known.pod)
        self._remember(pid, known, now)
        return None if known is None else known.service

    def _remember(self, pid: int, known: _Known | None, now: float) -> None:
        """Move the process to the end of those that are known, and forget the one that was seen longest ago."""
        with self._lock:
            self._known.pop(pid, None)
            if known is not None:
                self._known[pid] = known._replace(seen=now)
            if len(self._known) > MAX_CACHED:
                del self._known[next(iter(self._known))]

    def _find(self, folder: Path, started: str, now: float) -> _Known | None:
        environ = parse_environ(self._environ_of(folder)) if self._environ else {}
        place = placement(parse_cgroup(_read(folder / "cgroup", 1 << 16).decode(errors="replace")))
        pod = None
        service = from_environ(environ)
        if service is None and place.pod is not None:
            service = from_pod(place.pod, _names(self._pods))
            pod = place.pod if service is None else None
            service = service or _service("", f"pod-{place.pod}", "kubernetes")
        service = service or from_placement(place, environ) or self._executable(folder)
        if service is None or start_time(_read(folder / "stat", 4096)) != started:
            return None  # gone meanwhile: what was read may be of another process with the same pid
        return _Known(started, service, pod, now, now)

    def _named(self, known: _Known, pod: str) -> _Known:
        service = from_pod(pod, _names(self._pods))
        return known if service is None else known._replace(service=service, pod=None)

    def _environ_of(self, folder: Path) -> bytes:
        try:
            return _read_some(folder / "environ", MAX_ENVIRON)
        except PermissionError:
            self._problems.report(
                "environment of processes",
                "may not be read, so OTEL_SERVICE_NAME is not seen and services go by their cgroup: "
                "run as root or with CAP_SYS_PTRACE, or set --no-attribution.environ",
            )
        except OSError:
            pass
        return b""

    def _executable(self, folder: Path) -> AttributedService | None:
        cmdline = _read(folder / "cmdline", 1 << 16)
        for _ in range(MAX_PARENTS):  # what multiprocessing spawned goes by what spawned it
            parent = parent_of(_read(folder / "stat", 4096)) if _SPAWNED in cmdline.split(b"\0") else None
            if parent is None:
                break
            folder = self._procfs / str(parent)
            cmdline = _read(folder / "cmdline", 1 << 16)
        try:
            executable = (folder / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            executable = _read(folder / "comm", 64).decode(errors="replace").strip()
        return _service("", program(executable, cmdline), "executable")


def start_time(stat: bytes) -> str | None:
    """Field 22 of /proc/PID/stat, in clock ticks since boot; the second field is a name that may hold anything."""
    fields = stat.rpartition(b")")[2].split()
    return fields[19].decode() if len(fields) > 19 else None


def parent_of(stat: bytes) -> int | None:
    """Field 4 of /proc/PID/stat; None for a process that has none in this /proc."""
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() and int(fields[1]) > 0 else None


def parse_environ(raw: bytes) -> dict[str, str]:
    """Variables as the process was started with them; entries that are not `NAME=value` are left out."""
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, equals, value in pairs if equals}


def from_environ(environ: Mapping[str, str]) -> AttributedService | None:
    """`OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES` (OpenTelemetry's Resource SDK)."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name", "")
    return _service(attributes.get("service.namespace", ""), name, "otel")


def from_pod(uid: str, entries: tuple[str, ...]) -> AttributedService | None:
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


def from_placement(place: Placement, environ: Mapping[str, str]) -> AttributedService | None:
    """A Slurm job by its name, else a systemd unit, else a container by the first 12 digits of its id."""
    job = place.slurm_job
    if job is None and place.unit is None and place.container is None:  # a Slurm that keeps its jobs in no cgroup
        job = environ.get("SLURM_JOB_ID") or None
    if job is not None:
        return _service("", environ.get("SLURM_JOB_NAME", "") or f"slurm-job-{job}", "slurm")
    if place.unit is not None:
        return _service("", place.unit, "systemd")
    if place.container is not None:
        return _service("", f"container-{place.container[:12]}", "container")
    return None


def program(executable: str, cmdline: bytes) -> str:
    """The name of a program: that of its executable, or of the script or module that an interpreter runs.

    Of a title that a process gave itself, such as `VLLM::EngineCore`, the first word; arguments are never shown.
    """
    if not _INTERPRETER.fullmatch(executable):
        return executable
    called, *arguments = (argument.decode(errors="replace") for argument in cmdline.split(b"\0"))
    if "/" not in called.partition(" ")[0] and not _INTERPRETER.fullmatch(called):
        title = _TITLE.match(called)
        return title[0] if title else executable
    return _script([argument for argument in arguments if argument]) or executable


def _script(arguments: Sequence[str]) -> str:
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if before in ("-m", "-jar"):
            return Path(argument).name
        if argument == "-c":
            break
        if not argument.startswith("-") and before not in ("-W", "-X"):
            return Path(argument).stem
    return ""


def _service(namespace: str, name: str, source: Source) -> AttributedService | None:
    name = label_value(name)
    return AttributedService(label_value(namespace), name, source) if name else None


def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - names only, a hundred of them each second
    except OSError:
        return ()


def _read(path: Path, most: int) -> bytes:
    """The first bytes of a file; none where it is missing or may not be read."""
    try:
        return _read_some(path, most)
    except OSError:
        return b""


def _read_some(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        return file.read(most)
