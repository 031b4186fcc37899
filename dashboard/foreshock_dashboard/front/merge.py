"""One list of the incidents of several hubs, and whether it is complete."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from foreshock_dashboard.front.shards import HubAnswer, unlisted
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.render.notification import incident_url
from foreshock_dashboard.render.units import counted

_ORDER = {"critical": 0, "warning": 1}


class Merged(NamedTuple):
    """Incidents of all hubs, the worst first, then resolved ones; and why some may be missing, each as a sentence."""

    incidents: tuple[Json, ...]
    problems: tuple[str, ...]

    @property
    def open(self) -> tuple[Json, ...]:
        """The incidents that are not resolved."""
        return tuple(item for item in self.incidents if item["state"] != "resolved")

    @property
    def state(self) -> str:
        """State of the verdict. Without all answers, it is never healthy."""
        if any(item["severity"] == "critical" for item in self.open):
            return "critical"
        if self.problems:
            return "unknown"
        return "warning" if self.open else "healthy"

    @property
    def headline(self) -> str:
        """The verdict in a sentence."""
        if not self.open:
            return "Incidents may be missing." if self.problems else "No open incidents."
        paged = sum(item["severity"] == "critical" for item in self.open)
        early = len(self.open) - paged
        parts = [counted(paged, "open incident")] * bool(paged) + [counted(early, "early warning")] * bool(early)
        return " and ".join(parts) + (". Others may be missing." if self.problems else ".")


def name_of(answer: HubAnswer) -> str:
    """What a hub is called: its shard, or its address."""
    return f"Shard {answer.part}" if answer.part else answer.url


def merged(answers: Sequence[HubAnswer], now: float) -> Merged:
    """The incidents of all hubs. now: Unix seconds.

    Hubs of the same shard have the same incidents: those of one that answers are listed. If none gives a current
    answer, open incidents of all their last ones are, because their ends are unknown.
    """
    groups: dict[str, list[HubAnswer]] = {}
    for answer in answers:
        groups.setdefault(answer.part or answer.url, []).append(answer)
    rows, problems = list[Json](), list[str]()
    for hubs in groups.values():
        best, *others = sorted(hubs, key=lambda hub: (bool(hub.problem(now)), -(hub.read_at or 0.0)))
        of_shard = [_row(item, best) for item in best.incidents]
        if reason := best.problem(now):
            problems.append(f"{name_of(best)} gives no current answer: {reason}")
            for hub in others:
                of_shard += [_row(item, hub) for item in unlisted(hub.incidents, of_shard)]
        rows += of_shard
    problems += _gaps(groups)
    rows.sort(key=lambda row: (row["state"] == "resolved", _ORDER.get(row["severity"], 2), -(row["opened"] or 0.0)))
    return Merged(tuple(rows), tuple(problems))


def _row(item: Json, hub: HubAnswer) -> Json:
    return {**item, "shard": hub.part, "url": incident_url(hub.page.rstrip("/"), item["id"])}


def _gaps(groups: dict[str, list[HubAnswer]]) -> list[str]:
    """Shards without a hub, shards of different numbers, and clusters that several shards read."""
    parts = {part: hubs for part, hubs in groups.items() if re.fullmatch(r"\d+/\d+", part)}
    counts = {int(part.partition("/")[2]) for part in parts}
    if len(counts) > 1:
        return [f"The hubs divide the clusters differently: {', '.join(sorted(parts))}. Give all the same COUNT"]
    found = [f"{number}/{count}" for count in counts for number in range(1, count + 1)]
    is_unknown = any(hub.read_at is None for hubs in groups.values() for hub in hubs)  # it may be of that shard
    gaps = [
        f"No hub of shard {part} has answered yet" if is_unknown else f"Shard {part} is not in --shards"
        for part in found
        if part not in parts
    ]
    readers: dict[str, list[str]] = {}
    for part, hubs in sorted(parts.items()):
        for cluster in {cluster for hub in hubs for cluster in hub.clusters}:
            readers.setdefault(cluster, []).append(part)
    return gaps + [
        f"{cluster or 'No cluster'} is read by shards {' and '.join(several)}. Give all hubs the same --shard-clusters"
        for cluster, several in sorted(readers.items())
        if len(several) > 1
    ]
