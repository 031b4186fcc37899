"""A cascade over the clusters of two shards: each hub sees its own services, and the calls to and from the others."""

from __future__ import annotations

import numpy as np
import pytest
from tests.analysis.platforms import Platform, Served, service, step

from foreshock_dashboard.analysis.detectors.finding import Finding
from foreshock_dashboard.analysis.incidents.lifecycle import State, states
from foreshock_dashboard.analysis.incidents.triage import incident_candidates
from foreshock_dashboard.model.incident import Incident, SuspectedCause

FRONT, MID, DB = "a//shop/front", "a//shop/mid", "b//shop/db"
UNSEEN = Served(np.nan, np.nan, np.nan)
TROUBLE = {
    "slow": (Served(p95=step(0.4, 4.3)), Served(p95=step(0.3, 4.2)), Served(p95=step(0.1, 4.0))),
    "failing": (
        Served(failed=step(0, 0.9)),
        Served(p95=0.3, failed=step(0, 0.9)),
        Served(p95=0.1, failed=step(0, 0.9)),
    ),
}


def found(platform: Platform, cluster: str) -> dict[str, Incident]:
    """The open incidents of a shard with one cluster, by service, 60 grid points after the trouble began."""
    world = platform.world()
    *_, last = states(State(float(world.times[platform.at - 30])), world, {}, lambda name: name == cluster)
    return {str(item.service): item for item in last.incidents if item.is_open}


@pytest.mark.parametrize(
    "unseen", [frozenset[str](), frozenset({DB})], ids=["an origin with spans", "a managed database"]
)
@pytest.mark.parametrize("trouble", TROUBLE)
def test_a_cascade_from_another_shard_pages_for_the_callers_in_this_one(trouble: str, unseen: frozenset[str]) -> None:
    """The other shard cannot know whether its service affects any other. It lists what has spans, nothing else."""
    front, mid, db = TROUBLE[trouble]
    calls = {("user", FRONT): front, (FRONT, MID): mid, (MID, DB): db}
    callers = found(Platform({FRONT: front, MID: mid, DB: UNSEEN}, calls, unseen=unseen), "a")
    assert {name: item.severity for name, item in callers.items()} == {MID: "critical"}
    assert callers[MID].suspect.service == service(DB)
    assert service(FRONT) in callers[MID].affected

    of_db = Platform({DB: UNSEEN if unseen else db, MID: UNSEEN}, {(MID, DB): db}, unseen=unseen)
    assert found(of_db, "b").keys() == {DB} - unseen


def test_a_cascade_that_affects_no_service_of_a_shard_is_not_in_its_list() -> None:
    """A caller waits longer for it, but answers as before."""
    point = Platform({MID: Served(), DB: Served()}, {(MID, DB): Served(p95=step(0.1, 4.0))}).point()
    suspect = SuspectedCause(service(DB))
    findings = [Finding(service(name), "dependency", suspect, 0.9, 1.5, 0.0, (), ()) for name in (MID, DB)]
    (whole,) = incident_candidates(point, {}, findings, {})
    assert (whole.origin, set(whole.members)) == (service(DB), {service(MID), service(DB)})
    assert incident_candidates(point, {}, findings, {}, lambda cluster: cluster == "a") == ()
