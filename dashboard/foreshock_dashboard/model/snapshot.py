"""Result of one evaluation of the hub: a World, its analysis, and the quality of both."""

from __future__ import annotations

from dataclasses import dataclass, field

from foreshock_dashboard.model.forecast import Forecast
from foreshock_dashboard.model.incident import Incident, Learning
from foreshock_dashboard.model.service import Service, split_cluster
from foreshock_dashboard.model.world import World


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Result of one evaluation. `seq` counts evaluations; `world` is None until a source was read.

    `forecast` is of the World's time. `error` is why the last evaluation could not read its source, "" if it could; the
    World then is the last good one. `bounds` are the Unix seconds between which a hub over a recording answers; None
    for a live hub. `clusters` are those that the hub has, where the World is that of one of them; see `clusters_of`.
    `is_preview`: the World is of the newest values, and none is evaluated, since the history is still being read:
    incidents are not known yet.
    """

    seq: int
    world: World | None
    incidents: tuple[Incident, ...]
    learning: Learning
    error: str = ""
    forecast: Forecast = field(default_factory=Forecast)
    bounds: tuple[float, float] | None = None
    clusters: tuple[str, ...] = ()
    is_preview: bool = False

    @property
    def services(self) -> tuple[Service, ...]:
        """The services of the World; none without one."""
        return self.world.services if self.world else ()

    @property
    def evaluated(self) -> World | None:
        """The World, unless it is that of a preview."""
        return None if self.is_preview else self.world


def clusters_of(snapshot: Snapshot) -> tuple[str, ...]:
    """The clusters that a hub has, by name; none where it has one or none."""
    if snapshot.clusters or snapshot.world is None:
        return snapshot.clusters
    world = snapshot.world
    names = {service.cluster for service in world.services} | {split_cluster(gpu.host)[0] for gpu in world.gpus}
    return tuple(sorted(names - {""}))
