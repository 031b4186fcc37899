"""On which GPU a span ran: the join of spans and GPUs. Pure.

The driver reports pids of the host, a span's `process.pid` is the one inside its own namespace. So a span and a process
are the same by `container.id`, or `k8s.pod.uid`, and the innermost pid; by `host.id` and pid only in the host's own pid
namespace. Where that finds nothing, a process of the same container ran for it (a server that hands its work to
another process), else a process of the same service on the same host; both are inferred.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

from foreshock_dashboard.analysis.traces.occupancy import Interval
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Attributes, Span
from foreshock_dashboard.model.world import Gpu, Tenant

By = Literal["process", "container", "service"]
_ELSEWHERE = ("client", "producer")
"""Kinds of spans that wait for somebody else, not for a GPU."""


class Place(NamedTuple):
    """Where a span ran: the GPUs it may have used, as which of the services on them, and how that was found."""

    gpus: tuple[Gpu, ...]
    own: Service
    by: By


class Join:
    """Finds the places of spans.

    Args:
        intervals: what ran around the time of the spans.
        tenants: which services are on which GPUs, also on those that nobody shared at that time.
    """

    def __init__(self, intervals: Iterable[Interval], tenants: Iterable[Tenant] = ()) -> None:
        self._processes: dict[str, set[tuple[Service, Gpu]]] = {}
        self._containers: dict[str, set[tuple[Service, Gpu]]] = {}
        self._services: dict[Service, dict[str, set[Gpu]]] = {}
        self._hosts: dict[str, str] = {}
        known: dict[str, Gpu] = {}
        for each in intervals:
            known[each.gpu.uuid] = each.gpu
            self._hosts[each.host_id] = each.gpu.host
            self._note(each.service, each.gpu)
            for word in each.processes:
                home, _, pid = word.rpartition("/")
                name = f"{each.host_id} host/{pid}" if home == "host" else word
                self._processes.setdefault(name, set()).add((each.service, each.gpu))
                if home != "host":
                    self._containers.setdefault(home, set()).add((each.service, each.gpu))
        for gpu, service in tenants:
            self._note(service, known.get(gpu.uuid, gpu))

    def _note(self, service: Service, gpu: Gpu) -> None:
        self._services.setdefault(service, {}).setdefault(gpu.host, set()).add(gpu)

    def place(self, span: Span) -> Place | None:
        """Where a span ran; None where that is not known, or it only waited for another service."""
        if span.kind in _ELSEWHERE or span.occupancy:
            return None
        resource = span.resource
        home, host_id, pid = _home(resource), _text(resource, "host.id"), _pid(resource)
        if pid and (home or host_id):
            word = f"{home}/{pid}" if home else f"{host_id} host/{pid}"
            if found := self._processes.get(word):
                return _place(found, "process")
        if home and (found := self._containers.get(home)):
            return _place(found, "container")
        return self._by_service(span.service, host_id)

    def _by_service(self, wanted: Service, host_id: str) -> Place | None:
        """By the service's GPUs on the span's host; a span that names no host, only where the service has but one.

        The host must have told something: of another it is not known who ran there.
        """
        service = self._named(wanted)
        if service is None:
            return None
        on = self._services[service]
        alone = next(iter(on)) if len(on) == 1 else ""
        host = self._hosts.get(host_id, "") if host_id else alone
        gpus = on.get(host) if host in self._hosts.values() else None
        return Place(tuple(sorted(gpus)), service, "service") if gpus else None

    def _named(self, wanted: Service) -> Service | None:
        """The service on GPUs that is meant: an exporter need not know of a namespace, nor need a span."""
        if wanted in self._services:
            return wanted
        same = [
            each for each in self._services if each.name == wanted.name and "" in (each.namespace, wanted.namespace)
        ]
        return same[0] if len(same) == 1 else None


def _place(found: set[tuple[Service, Gpu]], by: By) -> Place:
    """Where one process is told under two names, those of its GPUs that go by the first."""
    own = min(service for service, _ in found)
    return Place(tuple(sorted(gpu for service, gpu in found if service == own)), own, by)


def _home(resource: Attributes) -> str:
    """The container of a span, else its pod; "" where it names none."""
    container = _text(resource, "container.id").rpartition("://")[2]
    pod = _text(resource, "k8s.pod.uid")
    return f"container:{container}" if container else f"pod:{pod}" if pod else ""


def _pid(resource: Attributes) -> str:
    """The pid in the process's own namespace; vLLM calls it `vllm.process_id`."""
    for name in ("process.pid", "vllm.process_id"):
        value = resource.get(name)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value).isdecimal():
            return str(value)
    return ""


def _text(resource: Attributes, name: str) -> str:
    value = resource.get(name)
    return value if isinstance(value, str) else ""
