"""The panels of Now: tiles, timeline, services, matrix of GPU wait, and GPUs."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from tests.web.worlds import (
    SCENES,
    bare,
    contended,
    contention_incident,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.forecast import Forecast, Risk, ServiceSlo
from foreshock_dashboard.model.incident import (
    Learning,
    SuspectedCause,
)
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.snapshot import Snapshot
from foreshock_dashboard.model.types import Json
from foreshock_dashboard.model.verdict.reading import SloStatus
from foreshock_dashboard.web.api.list_routes import services as listed_services
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.pages.now.verdict import verdict
from foreshock_dashboard.web.pages.services.data import services
from foreshock_dashboard.web.panels import vitals
from foreshock_dashboard.web.panels.topology import topology
from foreshock_dashboard.web.state.placement import MIN_WAIT_RATIO
from foreshock_dashboard.web.state.service_history import HistoryCache

Golden = Callable[[str, str], None]


def test_without_a_baseline_no_anomaly_is_drawn_and_no_wait_is_normal() -> None:
    """There is nothing to compare with yet."""
    learning = Learning(720.0, 1800.0)
    payload = data.now(snapshot(contended(), learning=learning), "x")
    assert data.now(snapshot(contended()), "x")["timeline"].lanes
    assert payload["timeline"].lanes == []
    assert payload["no_stages"].startswith("Building baseline")
    (wait,) = [tile for tile in payload["tiles"] if "wait" in tile.name]
    assert wait.value is not None
    assert (wait.limit, wait.status) == (None, "ok")


def test_other_gpus_with_a_wait_are_those_of_the_grid_that_no_cell_counts() -> None:
    """A GPU that is shared all the time without a wait of a service with requests is none of them."""
    world = contended()
    item, waits = contention_incident(world), world.gpu_wait.copy()
    assert data.matrix(replace(world, contended=np.ones_like(world.contended)), [item]).other_gpus == 0
    own = [row for row, tenant in enumerate(world.tenants) if tenant.service == item.service]
    waits[own, -1] = 0.3
    gpus = {world.tenants[row].gpu for row in own}
    assert data.matrix(replace(world, gpu_wait=waits), [item]).other_gpus == len(gpus - set(item.suspect.gpus)) == 2


def test_the_reverse_pair_of_an_incident_is_not_in_the_matrix() -> None:
    """The wait of the noisy neighbor is no help."""
    item = replace(
        contention_incident(contended()), service=service("train-llm"), suspect=SuspectedCause(service("embedder"))
    )
    assert "embedder" in data.matrix(contended()).victims
    assert "embedder" not in data.matrix(contended(), (item,)).victims
    assert data.now(SCENES["healthy"](), "x")["matrix"] is None


def test_a_likely_breach_counts_alike_in_the_tile_and_in_both_tables() -> None:
    """Also without an incident."""
    world, auth = healthy_world(), service("auth")
    forecast = Forecast(
        slos=(ServiceSlo(auth, 9.0, 0.5, learned=True),), risks=(Risk(auth, 0.9, 60.0, 60.0, 120.0, 400.0, 400.0),)
    )
    seen = replace(snapshot(world), forecast=forecast)
    page = data.now(seen, "t")
    assert page["tiles"][0].slo == SloStatus(0, 0, 1, 0, len(world.services) - 1, learned=1)
    assert next(row.condition for row in page["services"] if row.id == "auth") == "at_risk"
    assert next(row["word"] for row in services(seen)["services"] if row["id"] == "auth") == "At risk"


def test_the_values_of_now_line_up_with_the_topology() -> None:
    """One byte for each GPU and each tenant, whose GPU follows from those of the tenants before."""
    world = contended()
    identities, values = topology(world), data.now(snapshot(world), "x")
    assert len(base64.b64decode(values["gpus"]["busy"])) == sum(len(host.gpus) for host in identities["hosts"])
    assert len(base64.b64decode(values["tenants"]["gpu_wait"])) == len(identities["tenants"])
    places = np.cumsum([step for step, _ in identities["tenants"]]).tolist()
    assert [world.gpus[place] for place in places] == [tenant.gpu for tenant in world.tenants]


def test_the_matrix_distinguishes_no_shared_gpu_from_no_waiting() -> None:
    """No cell where two services share nothing; a figure where they do."""
    matrix: Json = vars(data.matrix(contended()))
    row = matrix["cells"][matrix["victims"].index("embedder")]
    assert row[matrix["aggressors"].index("train-llm")].ratio == pytest.approx(0.46)
    assert row[matrix["aggressors"].index("batch-eval")] is None


def test_a_map_of_hundreds_keeps_those_that_share_gpus() -> None:
    """Those that neither call nor share are left out, never the ones that contend, and their number is shown."""
    world = healthy_world()
    many = tuple(Service("", f"extra-{i:03d}") for i in range(300))
    nothing = np.full((len(many), len(world.times)), np.nan)
    red = type(world.red)(
        *(np.vstack([getattr(world.red, f), nothing]) for f in ("rate", "error_rate", "p50", "p95", "p99"))
    )
    large = replace(world, services=(*world.services, *many), red=red)
    drawn = topology(large)["map"]
    names = {node.id for node in drawn.nodes}
    assert names == {node.id for node in topology(world)["map"].nodes}
    assert {"embedder", "train-llm", "reranker", "batch-eval"} <= names
    assert drawn.hidden == 300
    values = data.now(snapshot(large), "x")
    assert len(values["services"]) == data.MAX_ROWS
    assert len(values["services"]) + values["hidden"] == len(large.services)


def test_a_sparkline_keeps_peaks_and_gaps() -> None:
    """Downsampling must not hide a spike nor fill a hole."""
    world = healthy_world()
    row = np.ones(len(world.times))
    row[60] = 9.0
    row[10:20] = np.nan
    line = vitals.sparkline(world, row)
    assert len(line) <= vitals.SPARKLINE_POINTS
    assert max(v for v in line if v is not None) == 9.0
    assert None in line


def test_golden_now_of_a_service_under_gpu_contention(golden: Golden) -> None:
    """The whole payload of the Now page, to see what a change changes."""
    seen = SCENES["contended"]()
    golden("web-now-contended.json", json.dumps(data.now(seen, "topology"), indent=1, default=vars) + "\n")


def test_before_the_first_evaluation_there_is_nothing_but_a_reason() -> None:
    """No World: lists are empty, `ready` is false and the verdict says that the hub has not looked yet."""
    seen = Snapshot(0, None, (), Learning(0.0, 1800.0))
    assert data.now(seen, "x")["ready"] is False
    assert listed_services(HistoryCache(), seen) == {"services": [], "edges": []}
    assert verdict(seen).state == "empty"
    assert verdict(snapshot(bare())).state == "empty"


def test_batch_jobs_are_no_victims_in_the_matrix_however_long_they_wait() -> None:
    """A job that waits is how GPUs are shared; it is listed, as a job, only where no service with requests waits."""
    world = contended()
    waits = world.gpu_wait_by.copy()
    waits[[pair.affected.name == "train-llm" for pair in world.gpu_wait_pairs]] = 0.9
    matrix = data.matrix(replace(world, gpu_wait_by=waits))
    assert (matrix.victims, matrix.jobs) == (["embedder", "reranker"], [])
    nothing = replace(world.red, p95=np.full_like(world.red.p95, np.nan))
    idle = data.matrix(replace(world, gpu_wait_by=waits, red=nothing))
    assert {"train-llm", "batch-eval"} <= set(idle.jobs)


def test_the_pair_of_an_incident_has_one_wait_on_the_page() -> None:
    """Card and matrix have the GPUs of the incident, as its evidence has, and not all that the two share."""
    world = contended()
    waits = world.gpu_wait_by.copy()
    first = next(
        row for row, pair in enumerate(world.gpu_wait_pairs) if pair[1:] == (service("embedder"), service("train-llm"))
    )
    waits[first, -1] = 0.62
    world, item = replace(world, gpu_wait_by=waits), contention_incident(world)
    item = replace(item, suspect=item.suspect._replace(gpus=(world.gpu_wait_pairs[first].gpu,)))
    page = data.now(snapshot(world, item), "x")
    card = next(tile for tile in page["tiles"] if tile.name == "Highest GPU wait (serving)")
    assert card.value == pytest.approx(0.62)
    assert card.who == "embedder waiting on train-llm (1 GPU)"
    assert page["matrix"] is not None
    cell = page["matrix"].cells[page["matrix"].victims.index("embedder")][page["matrix"].aggressors.index("train-llm")]
    assert cell is not None
    assert cell.ratio == pytest.approx(0.62)
    assert len(cell.gpus) == 1


def test_the_services_of_an_incident_are_those_of_its_timeline() -> None:
    """While it recovers too, when they are healthy again."""
    world = contended()
    page = data.now(snapshot(world, contention_incident(world, state="recovering")), "x")
    assert {row.id for row in page["services"]} == {lane.service for lane in page["timeline"].lanes}


def test_where_a_service_waits_the_matrix_leaves_out_pairs_without_contention() -> None:
    """The one cell that matters is not lost among zeros; without any wait, the pairs are still listed."""
    world = contended()
    peaceful = replace(world, gpu_wait_by=np.zeros_like(world.gpu_wait_by))

    ratios = [cell.ratio or 0.0 for row in data.matrix(world).cells for cell in row if cell]
    assert ratios
    assert min(ratios) >= MIN_WAIT_RATIO
    assert len(data.matrix(peaceful).victims) >= 1
