"""By which words a process and its spans find each other: the keys of the join of spans and GPUs.

A span says `container.id`, `k8s.pod.uid` and the `process.pid` of its own pid namespace; the driver says the pid of the
host. The words are `container:<id>/<innermost pid>`, `pod:<uid>/<innermost pid>`, and `host/<pid>` for a process in the
host's own pid namespace; the last means something together with `host.id` alone.
"""

from __future__ import annotations

from pathlib import Path

from foreshock_exporter.attribution.container import ContainerOf, container_of


def process_names(procfs: Path, pid: int) -> tuple[str, ...]:
    """The words for the process with this number in `procfs`; none when it is gone."""
    place = container_of(procfs, pid)
    return () if place is None else words_of(place)


def words_of(place: ContainerOf) -> tuple[str, ...]:
    """The words for a process by where it runs."""
    words = []
    if place.container_id is not None:
        words.append(f"container:{place.container_id}/{place.pid}")
    if place.pod_uid is not None:
        words.append(f"pod:{place.pod_uid}/{place.pid}")
    if not place.nested:
        words += on_host(place.pid)
    return tuple(words)


def on_host(pid: int) -> tuple[str, ...]:
    """The word for a process that is in no container."""
    return (f"host/{pid}",)
