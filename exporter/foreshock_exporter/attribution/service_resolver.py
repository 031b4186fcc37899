"""Resolution of a process to its service from the host's procfs.

The first match wins and is the `source`: OpenTelemetry's environment variables, a deployment of Ray Serve, Kubernetes,
an actor or task of Ray, Slurm, the systemd unit, the container, the executable.
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

from foreshock_exporter.attribution import mps
from foreshock_exporter.attribution.cgroup import Placement, parse_cgroup, placement
from foreshock_exporter.attribution.container import read_bytes
from foreshock_exporter.common.log import ProblemLog
from foreshock_exporter.model.family import label_value
from foreshock_exporter.model.service import AttributedService, MpsProcess, Source

MAX_ENVIRON_BYTES = 1 << 20
"""Bytes read of a process's environment."""
MAX_CACHED_PROCESSES = 4096
"""Size of the cache."""
CHECK_INTERVAL_SECONDS = 1.0
"""Time for which a PID is trusted without a check; PIDs recur after at least 32,768 new processes."""
POD_NAME_WAIT_SECONDS = 60.0
"""Time for which the name of a new pod is retried; the kubelet writes it before containers start."""

_POD_SUFFIX = re.compile(r"(?:-(?:[4-9bcdf]{6,10}|\d{8,10}))?-[bcdfghjklmnpqrstvwxz2456789]{5}$|-\d+$")
"""Suffix of pods of a Deployment (template hash, suffix), CronJob (schedule, suffix), DaemonSet or Job (suffix), or
StatefulSet (ordinal). Kubernetes writes hashes and suffixes without vowels.
"""
_RAY_SERVE = re.compile(r"ray::ServeReplica:(?:([^:.(]+):)?([^.(]+)")
"""Process title of a replica, `ray::ServeReplica:APP:DEPLOYMENT.method`. A deployment may have colons."""
_RAY = re.compile(r"ray::([A-Za-z]\w*)")
"""Process title `ray::ActorClass.method` or `ray::task`."""
_RAY_UNNAMED = re.compile(r"IDLE\w*|ServeReplica|RayWorkerWrapper|RayTrainWorker")
"""Workers without a task, and classes of vLLM and Ray Train that run whatever program."""
_INTERPRETER = re.compile(r"(?:python|pypy|ruby|node|perl|java)[\d.]*t?")
_TITLE = re.compile(r"[A-Za-z][\w.+-]*")
_MULTIPROCESSING_ARGUMENT = b"--multiprocessing-fork"
"""Last argument of a process spawned by Python's multiprocessing."""
MAX_PARENTS = 4
"""Ancestors searched for the program that spawned such a process."""


class _CachedProcess(NamedTuple):
    """Service of a process; `pod` is the UID of a pod that has no known name yet. Times in seconds.

    `daemon` is the PID of the control daemon that started it, if it is an MPS server.
    """

    started: str
    service: AttributedService
    pod: str | None
    daemon: int | None
    resolved_at: float
    checked_at: float


class ProcResolver:
    """Resolves PIDs to services, with a cache by PID and start time. Thread-safe.

    Args:
        rootfs: the host's /, for pod names under /var/log/pods.
        environ: whether to read environments of processes (needs root or CAP_SYS_PTRACE).
    """

    def __init__(
        self, procfs: Path, rootfs: Path, *, environ: bool = True, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._procfs = procfs
        self._pods = rootfs / "var" / "log" / "pods"
        self._environ = environ
        self._now = now
        self._problems = ProblemLog()
        self._lock = threading.Lock()  # guards the cache; not held while reading a file, which may hang
        self._cache: dict[int, _CachedProcess] = {}

    def __call__(self, pid: int) -> AttributedService | None:
        """Service of the process; None if it is gone or inaccessible."""
        now = self._now()
        cached = self._cache.get(pid)
        if cached is not None and now - cached.checked_at < CHECK_INTERVAL_SECONDS:
            return cached.service
        folder = self._procfs / str(pid)
        stat = read_bytes(folder / "stat", 4096)
        started = start_time(stat)
        if started is None:
            cached = None
        elif cached is None or cached.started != started:
            cached = self._resolve(folder, started, now)
        elif cached.pod is not None and now - cached.resolved_at < POD_NAME_WAIT_SECONDS:
            service = from_pod(cached.pod, _entry_names(self._pods))
            if service is not None:
                cached = cached._replace(service=service._replace(mps=cached.service.mps), pod=None)
        elif cached.daemon is not None:  # orphans get another parent
            said = cached.service.mps._replace(has_daemon=parent_of(stat) == cached.daemon)
            cached = cached._replace(service=cached.service._replace(mps=said))
        self._remember(pid, cached, now)
        return None if cached is None else cached.service

    def _remember(self, pid: int, cached: _CachedProcess | None, now: float) -> None:
        """Move the process to the end of the cache, and evict the one checked longest ago."""
        with self._lock:
            self._cache.pop(pid, None)
            if cached is not None:
                self._cache[pid] = cached._replace(checked_at=now)
            if len(self._cache) > MAX_CACHED_PROCESSES:
                del self._cache[next(iter(self._cache))]

    def _resolve(self, folder: Path, started: str, now: float) -> _CachedProcess | None:
        environ = parse_environ(self._environ_of(folder)) if self._environ else {}
        place = placement(parse_cgroup(read_bytes(folder / "cgroup", 1 << 16).decode(errors="replace")))
        pod = None
        cmdline = read_bytes(folder / "cmdline", 4096)
        title = cmdline.partition(b"\0")[0].decode(errors="replace")
        service = from_environ(environ) or from_ray_serve(title, environ)
        if service is None and place.pod is not None:
            service = from_pod(place.pod, _entry_names(self._pods))
            pod = place.pod if service is None else None
            service = service or _service("", f"pod-{place.pod}", "kubernetes")
        service = service or from_ray(title, environ) or from_placement(place, environ) or self._executable(folder)
        stat = read_bytes(folder / "stat", 4096)
        if service is None or start_time(stat) != started:
            return None  # ended meanwhile: the values may belong to another process with this PID
        is_server = mps.program_of(cmdline) == mps.SERVER
        daemon = self._daemon_of(stat) if is_server else None
        said = MpsProcess(mps.sm_limit(environ), mps.memory_limit(environ), is_server, True if daemon else None)
        return _CachedProcess(started, service._replace(mps=said), pod, daemon, now, now)

    def _daemon_of(self, stat: bytes) -> int | None:
        """PID of the MPS control daemon that started a server; None if its parent is another program."""
        parent = parent_of(stat)
        cmdline = b"" if parent is None else read_bytes(self._procfs / str(parent) / "cmdline", 4096)
        return parent if mps.program_of(cmdline) == mps.CONTROL_DAEMON else None

    def _environ_of(self, folder: Path) -> bytes:
        try:
            with (folder / "environ").open("rb") as file:
                return file.read(MAX_ENVIRON_BYTES)
        except PermissionError:
            self._problems.report(
                "environment of processes",
                "cannot be read, so OTEL_SERVICE_NAME is unknown and services are named after their cgroup: "
                "run as root or with CAP_SYS_PTRACE, or set --no-attribution.environ",
            )
        except OSError:
            pass
        return b""

    def _executable(self, folder: Path) -> AttributedService | None:
        cmdline = read_bytes(folder / "cmdline", 1 << 16)
        for _ in range(MAX_PARENTS):  # a multiprocessing child is named after its parent
            if _MULTIPROCESSING_ARGUMENT not in cmdline.split(b"\0"):
                break
            parent = parent_of(read_bytes(folder / "stat", 4096))
            if parent is None:
                break
            folder = self._procfs / str(parent)
            cmdline = read_bytes(folder / "cmdline", 1 << 16)
        try:
            executable = (folder / "exe").readlink().name.removesuffix(" (deleted)")
        except OSError:
            executable = read_bytes(folder / "comm", 64).decode(errors="replace").strip()
        return _service("", program(executable, cmdline), "executable")


def start_time(stat: bytes) -> str | None:
    """Field 22 of /proc/PID/stat, in clock ticks since boot. The second field may contain anything."""
    fields = stat.rpartition(b")")[2].split()
    return fields[19].decode(errors="replace") if len(fields) > 19 else None


def parent_of(stat: bytes) -> int | None:
    """Field 4 of /proc/PID/stat; None without a parent in this /proc."""
    fields = stat.rpartition(b")")[2].split()
    return int(fields[1]) if len(fields) > 1 and fields[1].isdigit() and int(fields[1]) > 0 else None


def parse_environ(raw: bytes) -> dict[str, str]:
    """Initial environment variables; entries other than `NAME=value` are skipped."""
    pairs = (entry.partition(b"=") for entry in raw.split(b"\0"))
    return {name.decode(errors="replace"): value.decode(errors="replace") for name, equals, value in pairs if equals}


def from_environ(environ: Mapping[str, str]) -> AttributedService | None:
    """Service from `OTEL_SERVICE_NAME`, else `service.name` of `OTEL_RESOURCE_ATTRIBUTES` (OTel Resource SDK)."""
    pairs = (pair.partition("=") for pair in environ.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    attributes = {name.strip(): unquote(value.strip()) for name, _, value in pairs}
    name = environ.get("OTEL_SERVICE_NAME", "").strip() or attributes.get("service.name", "")
    return _service(attributes.get("service.namespace", ""), name, "otel")


def from_ray_serve(title: str, environ: Mapping[str, str]) -> AttributedService | None:
    """Service of a replica of Ray Serve by its process title: the deployment, in its application."""
    match = _RAY_SERVE.match(title)
    return _service(match[1] or "", match[2], "ray", environ.get("RAY_JOB_ID", "")) if match else None


def from_ray(title: str, environ: Mapping[str, str]) -> AttributedService | None:
    """Service of a worker of Ray by its process title: the actor's class or the task, without method and arguments."""
    match = _RAY.match(title)
    if match is None or _RAY_UNNAMED.fullmatch(match[1]):
        return None
    return _service("", match[1], "ray", environ.get("RAY_JOB_ID", ""))


def from_pod(uid: str, entries: tuple[str, ...]) -> AttributedService | None:
    """Workload of the pod with this UID, by an entry `<namespace>_<pod>_<uid>` of /var/log/pods."""
    for entry in entries:
        namespace, _, rest = entry.partition("_")
        pod, _, pod_uid = rest.partition("_")
        if pod and pod_uid.replace("-", "") == uid.replace("-", ""):
            return _service(namespace, workload(pod), "kubernetes")
    return None


def workload(pod: str) -> str:
    """Name of the controller of a pod: its name without the replica suffix."""
    return _POD_SUFFIX.sub("", pod) or pod


def from_placement(place: Placement, environ: Mapping[str, str]) -> AttributedService | None:
    """Service from a Slurm job, else a systemd unit, else a container (first 12 digits of its id).

    A Slurm job is in the namespace of its user, since jobs of several users often have the same name. Its id is that
    of `sacct`: `JOB`, or `ARRAY_TASK` for a task of an array.
    """
    job = place.slurm_job
    if job is None and place.unit is None and place.container is None:  # a Slurm that keeps its jobs in no cgroup
        job = environ.get("SLURM_JOB_ID") or None
    if job is not None:
        array, task = environ.get("SLURM_ARRAY_JOB_ID"), environ.get("SLURM_ARRAY_TASK_ID")
        name, shown = environ.get("SLURM_JOB_NAME", ""), f"{array}_{task}" if array and task else job
        return _service(environ.get("SLURM_JOB_USER", "") if name else "", name or f"slurm-job-{job}", "slurm", shown)
    if place.unit is not None:
        return _service("", place.unit, "systemd")
    if place.container is not None:
        return _service("", f"container-{place.container[:12]}", "container")
    return None


def program(executable: str, cmdline: bytes) -> str:
    """Program name: that of the executable, or of the script or module that an interpreter runs.

    Of a process title such as `VLLM::EngineCore` the first word. Arguments are never exposed.
    """
    if not _INTERPRETER.fullmatch(executable):
        return executable
    command, *arguments = (argument.decode(errors="replace") for argument in cmdline.split(b"\0"))
    if "/" not in command.partition(" ")[0] and not _INTERPRETER.fullmatch(command):
        title = _TITLE.match(command)
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


def _service(namespace: str, name: str, source: Source, job: str = "") -> AttributedService | None:
    name = label_value(name)
    return AttributedService(label_value(namespace), name, source, label_value(job)) if name else None


def _entry_names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - names only, a hundred of them each second
    except OSError:
        return ()
