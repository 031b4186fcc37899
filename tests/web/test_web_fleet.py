"""The Fleet page: one byte a GPU, an inventory that is filtered and sorted, and whether it is the hardware."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from tests.web.caller import Caller
from tests.web.worlds import (
    NOW,
    POINTS,
    SCENES,
    FakeHub,
    NoMetrics,
    bare,
    calm,
    dark,
    draw,
    snapshot,
    starvation,
    starving,
)

from foreshock_dashboard.model.query import Matrix, Query
from foreshock_dashboard.model.world import World
from foreshock_dashboard.model.world_sections import Hardware as Told
from foreshock_dashboard.web.api.parameters import FleetParameters
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.fleet.data import Selection, fleet, table_rows, typed_array
from foreshock_dashboard.web.pages.fleet.gpu import (
    GpuWait,
    HardwareHealth,
    Xid,
    gpu_detail,
    hardware_verdict,
    read_hardware,
    read_nvlink,
)
from foreshock_dashboard.web.pages.fleet.layout import PAGE
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.state.parameters import BadParameterError


def _sick(throttled: float = 0.0, errors: float = 0.0, lost: float = 0.0) -> World:
    """The calm World whose first GPU tells of its health."""
    world = calm()
    rows = [np.zeros((len(world.gpus), POINTS)) for _ in range(4)]
    for values, value in zip(rows, (1.0, throttled, errors, lost), strict=True):
        values[0] = value
    return replace(world, hardware=Told(*rows))


def _bytes(values: object) -> list[int]:
    return list(base64.b64decode(values["bdata"]))  # type: ignore[index]  # JSON


def test_what_is_wrong_is_told_though_no_gpu_is_marked() -> None:
    """A cascade that comes of demand marks no GPU, and yet the fleet is not calm."""
    world = starving()
    found = starvation(world)
    item = replace(found, cause="demand", suspect=found.suspect._replace(gpus=()))
    body = fleet(snapshot(world, item), FleetParameters.read({}).selection)
    assert (body["marked"], [one.cause for one in body["incidents"]]) == ([], ["demand"])
    assert body["incidents"][0].of == "embedder"


def test_a_value_is_one_byte_and_nothing_known_is_none_of_them() -> None:
    """0…250 from end to end of the scale, 255 for what is not known."""
    body = typed_array(np.array([0.0, 0.5, 1.0, 7.0, np.nan]), 0.0, 1.0)
    assert _bytes(body) == [0, 125, 250, 250, 255]
    assert (body["dtype"], body["shape"]) == ("u1", "5")
    assert _bytes(fleet(snapshot(dark()), Selection())["values"]) == [255] * 32


def test_a_scale_ends_at_a_round_number() -> None:
    """Watts have no natural end; the largest fits."""
    body = fleet(snapshot(calm()), Selection("power"))
    assert (body["low"], body["unit"]) == (0.0, "W")
    assert body["high"] in (500.0, 600.0)


def test_the_counts_of_what_nobody_tells_are_unknown() -> None:
    """Zero throttled GPUs would be a claim."""
    counts = fleet(snapshot(calm()), Selection())["counts"]
    assert (counts.gpus, counts.hosts, counts.contended, counts.throttled) == (32, 4, 0, None)
    seen = fleet(snapshot(_sick(throttled=0.4, errors=0.01, lost=1.0)), Selection())
    assert (seen["counts"].throttled, seen["counts"].errors, seen["counts"].lost) == (1, 1, 1)
    assert seen["lost"] == [0]


@pytest.mark.parametrize(
    ("wanted", "first", "found"),
    [
        (Selection(sort="-contended"), "host-0/gpu-0", 32),
        (Selection(sort="-gpu"), "host-3/gpu-7", 32),
        (Selection(text="host-2"), "host-2/gpu-0", 8),
        (Selection(text="batch-eval", sort="gpu"), "host-0/gpu-4", 4),
        (Selection(text="gpu-1-5"), "host-1/gpu-5", 1),
        (Selection(text="nothing like it"), None, 0),
    ],
)
def test_the_inventory_is_filtered_and_sorted(wanted: Selection, first: str | None, found: int) -> None:
    """By text in name, UUID or services, and by any column."""
    body = fleet(snapshot(starving()), wanted)
    assert body["found"] == found
    assert (body["rows"][0].gpu if body["rows"] else None) == first
    assert len(table_rows(snapshot(starving()), wanted)) == found


def test_what_is_not_known_comes_last_either_way() -> None:
    """It is neither hot nor cold."""
    world = calm()
    heat = world.temperature.copy()
    heat[3, -1] = np.nan
    for sort in ("temperature", "-temperature"):
        assert table_rows(snapshot(replace(world, temperature=heat)), Selection(sort=sort))[-1].gpu == "host-0/gpu-3"


@pytest.mark.parametrize("given", [{"metric": "beauty"}, {"sort": "-beauty"}, {"q": "x" * 81}])
def test_a_wrong_parameter_is_told(given: dict[str, str]) -> None:
    """By its name, with what would do."""
    with pytest.raises(BadParameterError, match=next(iter(given))):
        FleetParameters.read(given)


@pytest.mark.parametrize(
    ("world", "health", "sick", "words"),
    [
        (_sick(), HardwareHealth(corrected=3.0, uncorrected=0.0), False, "Nothing points at the hardware"),
        (_sick(), HardwareHealth(xids=(Xid(31, 2, NOW),)), False, "Nothing points at the hardware"),
        (_sick(), HardwareHealth(xids=(Xid(48, 1, NOW),)), True, "XID 48 (memory: an error of two bits"),
        (_sick(lost=1.0), HardwareHealth(), True, "it fell off the bus"),
        (_sick(throttled=0.3), HardwareHealth(), True, "holds it back 30 % of the time"),
        (_sick(), HardwareHealth(uncorrected=2.0), True, "2 memory errors that ECC could not correct"),
        (_sick(), HardwareHealth(remap_pending=1.0), True, "waits for a reset"),
        (_sick(), HardwareHealth(links=18.0, links_up=16.0), True, "2 of 18 NVLinks are down"),
        (_sick(errors=0.01), HardwareHealth(), True, "9 errors in 15 min"),
        (calm(), HardwareHealth(), None, "cannot be told"),
    ],
)
def test_whether_it_is_the_hardware(world: World, health: HardwareHealth, sick: bool | None, words: str) -> None:
    """Only what the GPU says of itself counts; an application's fault does not, and silence is no health."""
    said, found = hardware_verdict(world, 0, health)
    assert found is sick
    assert words in said


def test_one_gpu_in_full() -> None:
    """Its services, who waits there, its incident; by label or UUID."""
    world = starving()
    item = starvation(world)
    body = gpu_detail(snapshot(world, item), "GPU-0-0", HardwareHealth())
    assert (body["gpu"], body["host"], body["model"]) == ("host-0/gpu-0", "host-0", "H100")
    assert [one.service for one in body["services"]] == ["train-llm", "embedder"]
    assert body["pairs"][0] == GpuWait("embedder", "train-llm", 0.46)
    assert [one.id for one in body["incidents"]] == [item.id]
    assert gpu_detail(snapshot(world), "host-9/gpu-0", HardwareHealth()) == {"name": "host-9/gpu-0", "gpu": None}


@dataclass
class Counted(NoMetrics):
    """A source that answers by metric with series and their values."""

    series: dict[str, list[tuple[dict[str, str], float]]] = field(default_factory=dict)

    def fetch(self, query: Query, start: float, end: float, step: float) -> Matrix:
        """The same at every time."""
        times = np.arange(start, end + step / 2, step)
        rows = self.series.get(query.metric, [])
        labels = tuple(tuple(sorted(row.items())) for row, _ in rows)
        return Matrix(
            times, labels, np.array([[value] * len(times) for _, value in rows]).reshape(len(rows), len(times))
        )


def test_the_errors_of_a_gpu_are_read_with_their_numbers() -> None:
    """Those of the last day; by code, with when the last one was."""
    source = Counted(
        series={
            "gpu_xid_errors_total": [({"xid": "63"}, 2.0), ({"xid": "79"}, 1.0), ({"xid": "31"}, 0.0)],
            "gpu_xid_last_timestamp_seconds": [({"xid": "63"}, NOW - 60), ({"xid": "79"}, NOW - 200_000)],
            "gpu_ecc_errors_total": [({"error_type": "corrected"}, 5.0), ({"severity": "uncorrected"}, 0.0)],
            "gpu_nvlink_links": [({"uuid": "GPU-0-0"}, 18.0)],
            "gpu_throttled_seconds_total": [({"reason": "hw_thermal"}, 0.2), ({"reason": "idle"}, 0.0)],
        }
    )
    found = read_hardware(source, calm().gpus[0], NOW)
    assert found.xids == (Xid(63, 2.0, NOW - 60),)
    assert (found.corrected, found.uncorrected, found.links) == (5.0, 0.0, 18.0)
    assert math.isnan(found.links_up)
    assert found.throttled == (("hw_thermal", 0.2),)


def test_nvlink_is_both_ways_and_read_only_when_looked_at() -> None:
    """Sent and received; unknown GPUs have none."""
    both = [({"uuid": "GPU-0-1"}, 2e9)]
    source = Counted(series={"gpu_nvlink_transmit_bytes_total": both, "gpu_nvlink_receive_bytes_total": both})
    values = read_nvlink(source, calm())
    assert values[1] == 4e9
    assert np.isnan(values[0])
    caller = Caller(create_app(FakeHub(SCENES["calm"](), metrics=source), version="0"))
    assert caller.get("/api/pages/fleet?metric=nvlink&sort=-nvlink").json()["rows"][0]["nvlink"] == 4e9
    assert caller.get("/api/pages/fleet").json()["rows"][0]["nvlink"] is None


def test_golden_charts_of_a_gpu(golden: Callable[[str, str], None]) -> None:
    """Use, health, errors, memory, power and temperature of the GPU that is fought for."""
    world = replace(starving(), hardware=_sick(throttled=0.2, errors=0.05).hardware)
    charts = ("gpu-use", "gpu-health", "gpu-errors", "gpu-memory", "gpu-power", "gpu-heat")
    drawn = [draw(PAGE, chart, snapshot(world), gpu="GPU-0-0") for chart in charts]
    for figure in drawn:
        for trace in figure["data"]:
            del trace["x"][4:], trace["y"][4:]
    golden("web-gpu.json", json.dumps(drawn, indent=1) + "\n")


def test_errors_are_counted_on_an_axis_of_their_own() -> None:
    """3 each minute are not 300 % of the time."""
    world = _sick(throttled=0.2, errors=0.05)
    health, errors = (draw(PAGE, chart, snapshot(world), gpu="GPU-0-0") for chart in ("gpu-health", "gpu-errors"))
    assert [line["name"] for line in health["data"]] == ["held back", "clock, of its highest"]
    assert set(errors["data"][0]["y"]) == {3.0}
    assert health["layout"]["yaxis"]["tickformat"] == ",.0%"
    assert "%" not in errors["layout"]["yaxis"]["tickformat"]
    silent = draw(PAGE, "gpu-errors", snapshot(replace(world, hardware=None)), gpu="GPU-0-0")
    assert silent["layout"]["annotations"][0]["text"] == "Nothing told of its errors."


def test_a_fleet_of_nothing_is_empty() -> None:
    """No GPU, no error."""
    body = fleet(snapshot(bare()), Selection())
    assert (body["rows"], body["counts"].gpus, body["values"]["bdata"]) == ([], 0, "")


def test_now_leaves_out_who_has_what_of_so_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be most of what a refresh sends; the grid then names the services alone."""
    assert data.now(snapshot(calm()), "x")["tenants"]["busy"]
    monkeypatch.setattr(data, "MAX_TENANTS", 3)
    assert data.now(snapshot(calm()), "x")["tenants"] == {"busy": "", "stalled": ""}
