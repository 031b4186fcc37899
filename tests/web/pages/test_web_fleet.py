"""The Fleet page: one byte per GPU, a filtered and sorted inventory, and the health of the hardware."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

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
    contended,
    contention_incident,
    dark,
    draw,
    healthy_world,
    service,
    snapshot,
)

from foreshock_dashboard.model.query import Matrix, Query
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import GpuAllocation, World
from foreshock_dashboard.model.world_sections import Hardware, XidCounter
from foreshock_dashboard.store import Store
from foreshock_dashboard.web.api.parameters import FleetParameters
from foreshock_dashboard.web.app import create_app
from foreshock_dashboard.web.pages.contention.data import contention
from foreshock_dashboard.web.pages.fleet.data import (
    Selection,
    fleet,
    table_rows,
    typed_array,
)
from foreshock_dashboard.web.pages.fleet.gpu import (
    HardwareHealth,
    Xid,
    gpu_detail,
    hardware_health,
    idle_sms,
    read_hardware,
    read_nvlink,
)
from foreshock_dashboard.web.pages.fleet.layout import PAGE
from foreshock_dashboard.web.pages.now import data
from foreshock_dashboard.web.state import lists
from foreshock_dashboard.web.state.parameters import BadParameterError
from foreshock_dashboard.web.state.placement import MEAN_SECONDS, Allocated, mean_power


def _faulty(throttled: float = 0.0, errors: float = 0.0, lost: float = 0.0) -> World:
    """The healthy World with data on the health of its first GPU."""
    world = healthy_world()
    rows = [np.zeros((len(world.gpus), POINTS)) for _ in range(4)]
    for values, value in zip(rows, (1.0, throttled, errors, lost), strict=True):
        values[0] = value
    return replace(world, hardware=Hardware(*rows))


def _bytes(values: object) -> list[int]:
    return list(base64.b64decode(values["bdata"]))  # type: ignore[index]  # JSON


def test_an_incident_without_gpus_is_listed() -> None:
    """Overload marks no GPU, and yet the fleet is not healthy."""
    world = contended()
    found = contention_incident(world)
    item = replace(found, cause="overload", suspect=found.suspect._replace(gpus=()))
    body = fleet(snapshot(world, item), FleetParameters.read({}).selection)
    assert (body["incident_gpus"], body["mark_status"]) == ([], None)
    assert [(one.service, one.gpus) for one in body["incidents"]] == [("embedder", 0)]


def test_latent_risks_mark_their_gpus_and_hide_no_incident() -> None:
    """However many come first: the page names incidents that affect services alone."""
    world = contended()
    found = contention_incident(world)
    risks = [replace(found, id=f"risk-{i}", affected=(), since=found.since - 60 - i) for i in range(4)]
    body = fleet(snapshot(world, *risks, found), Selection())
    assert [one.service for one in body["incidents"]] == ["embedder"]
    assert body["mark_status"] == "critical"
    body = fleet(snapshot(world, *risks), Selection())
    assert (body["incidents"], body["mark_status"]) == ([], "critical")
    assert body["incident_gpus"]


def test_a_value_is_one_byte_and_no_data_is_another() -> None:
    """0…250 from end to end of the scale, 255 for no data."""
    body = typed_array(np.array([0.0, 0.5, 1.0, 7.0, np.nan]), 0.0, 1.0)
    assert _bytes(body) == [0, 125, 250, 250, 255]
    assert (body["dtype"], body["shape"]) == ("u1", "5")
    assert _bytes(fleet(snapshot(dark()), Selection())["values"]) == [255] * 32


def test_a_scale_ends_at_a_round_number() -> None:
    """Watts have no natural end; the largest fits."""
    body = fleet(snapshot(healthy_world()), Selection("power"))
    assert (body["low"], body["unit"]) == (0.0, "W")
    assert body["high"] in (500.0, 600.0)


def test_power_is_a_mean_as_busy_time_is() -> None:
    """Of a minute: one sample falls into a kernel or between two. Without a newest sample it is unknown."""
    world = healthy_world()
    power = world.power.copy()
    power[0, -world.points(MEAN_SECONDS) :] = 100.0
    power[0, -1], power[1, -1] = 400.0, math.nan
    mean = mean_power(replace(world, power=power))

    assert mean[0] == pytest.approx(100.0 + 300.0 / world.points(MEAN_SECONDS))
    assert math.isnan(mean[1])


def test_counts_without_data_are_unknown() -> None:
    """Zero throttled GPUs would be a claim."""
    counts = fleet(snapshot(healthy_world()), Selection())["counts"]
    assert (counts.gpus, counts.hosts, counts.contended, counts.throttled) == (32, 4, 0, None)
    seen = fleet(snapshot(_faulty(throttled=0.4, errors=0.01, lost=1.0)), Selection())
    assert (seen["counts"].throttled, seen["counts"].errors, seen["counts"].lost) == (1, 1, 1)
    assert seen["faults"] == [(0, "lost")]
    assert seen["rows"][0].fault == "lost"
    assert fleet(snapshot(_faulty(throttled=0.4, errors=0.01)), Selection())["faults"] == [(0, "failing")]
    assert fleet(snapshot(_faulty(throttled=0.4)), Selection())["faults"] == [(0, "throttled")]


def test_the_first_xid_error_of_a_gpu_counts() -> None:
    """Its counter appears with it, so its rate is 0; errors of applications are none of the GPU."""
    world = _faulty()
    assert world.hardware is not None
    gpu = world.gpus[0].label
    counters = (
        XidCounter(gpu, 79),
        XidCounter(gpu, 13),
        XidCounter(gpu, 79, service("embedder")),
        XidCounter("gone", 79),
    )
    values = np.full((len(counters), POINTS), np.nan)
    values[:, -3:] = 1.0
    seen = replace(world, hardware=replace(world.hardware, xids=counters, xid_errors=values))
    body = fleet(snapshot(seen), Selection())
    assert (body["counts"].errors, body["rows"][0].errors, body["faults"]) == (1, 1.0, [(0, "failing")])
    late = replace(seen, hardware=replace(world.hardware, xids=counters[1:2], xid_errors=values[1:2]))
    assert fleet(snapshot(late), Selection())["counts"].errors == 0


def test_the_old_and_the_new_card_of_a_place_are_two_gpus() -> None:
    """Both have the label of that place, for as long as the old one is in the time range."""
    world = _faulty(errors=0.01)
    first, second, *others = world.gpus
    new = replace(second, host=first.host, index=first.index)
    tenants = tuple(tenant._replace(gpu=new) if tenant.gpu == second else tenant for tenant in world.tenants)
    body = fleet(snapshot(replace(world, gpus=(first, new, *others), tenants=tenants)), Selection())
    assert (body["counts"].gpus, body["counts"].errors) == (len(world.gpus), 1)


def test_a_mixed_fleet_is_filtered_and_sorted_by_vendor() -> None:
    """The vendor is a separate column: a model need not name it."""
    world = contended()
    amd = replace(world.gpus[3], vendor="AMD", model="Instinct MI300X")
    others = [tenant for tenant in world.tenants if tenant.gpu != world.gpus[3]]
    rows = [world.tenants.index(tenant) for tenant in others]
    shares = {name: getattr(world, name)[rows] for name in ("busy", "gpu_wait", "memory")}
    mixed = replace(world, gpus=(*world.gpus[:3], amd, *world.gpus[4:]), tenants=tuple(others), **shares)

    found = fleet(snapshot(mixed), Selection(text="amd"))
    assert [(row.gpu, row.vendor) for row in found["rows"]] == [(amd.label, "AMD")]
    assert fleet(snapshot(mixed), Selection(sort="vendor"))["rows"][0].gpu == amd.label


@pytest.mark.parametrize(
    ("selection", "first", "matches"),
    [
        (Selection(sort="-contended"), "host-0/gpu-0", 32),
        (Selection(sort="-gpu"), "host-3/gpu-7", 32),
        (Selection(text="host-2"), "host-2/gpu-0", 8),
        (Selection(text="batch-eval", sort="gpu"), "host-0/gpu-4", 4),
        (Selection(text="gpu-1-5"), "host-1/gpu-5", 1),
        (Selection(text="nothing like it"), None, 0),
    ],
)
def test_the_inventory_is_filtered_and_sorted(selection: Selection, first: str | None, matches: int) -> None:
    """By text in name, UUID or services, and by any column."""
    body = fleet(snapshot(contended()), selection)
    assert body["matches"] == matches
    assert (body["rows"][0].gpu if body["rows"] else None) == first
    assert len(table_rows(snapshot(contended()), selection)) == matches


def test_an_allocated_gpu_without_a_process_names_its_pod() -> None:
    """In the inventory, which finds it by the pod, on the open GPU, in the contention ranking, and in the API."""
    world = healthy_world()
    gpu = world.gpus[5]
    pods = tuple(GpuAllocation(gpu, "ml", name, "main", of) for name, of in (("a-0", None), ("b-0", Service("", "b"))))
    shown = snapshot(replace(world, allocations=pods))
    (row,) = table_rows(shown, Selection(text="ml/b-0"))
    expected = [Allocated("ml/a-0", "main", None), Allocated("ml/b-0", "main", "b")]
    assert (row.gpu, row.allocated) == (gpu.label, ["ml/a-0", "ml/b-0"])
    for order in ("allocated", "-allocated"):
        assert table_rows(shown, Selection(sort=order))[0].gpu == gpu.label
    assert gpu_detail(shown, gpu.label, HardwareHealth())["allocated"] == expected
    assert [row.allocated for row in contention(shown)["gpus"] if row.allocated] == [expected]
    assert [row.allocated for row in lists.gpus(shown)["gpus"] if row.allocated] == [expected]


def test_missing_values_come_last_in_both_orders() -> None:
    """They are neither high nor low."""
    world = healthy_world()
    heat = world.temperature.copy()
    heat[3, -1] = np.nan
    for sort in ("temperature", "-temperature"):
        assert table_rows(snapshot(replace(world, temperature=heat)), Selection(sort=sort))[-1].gpu == "host-0/gpu-3"


@pytest.mark.parametrize("given", [{"metric": "beauty"}, {"sort": "-beauty"}, {"q": "x" * 81}])
def test_a_wrong_parameter_is_refused(given: dict[str, str]) -> None:
    """By its name, with the accepted forms."""
    with pytest.raises(BadParameterError, match=next(iter(given))):
        FleetParameters.read(given)


@pytest.mark.parametrize(
    ("world", "health", "faulty", "words"),
    [
        (_faulty(), HardwareHealth(corrected=3.0, uncorrected=0.0), False, "Hardware healthy: no errors"),
        (_faulty(), HardwareHealth(xids=(Xid(31, 2, NOW),)), False, "Hardware healthy: no errors"),
        (_faulty(), HardwareHealth(xids=(Xid(109, 2, NOW),)), False, "Hardware healthy: no errors"),
        (_faulty(), HardwareHealth(xids=(Xid(48, 1, NOW),)), True, "Hardware fault: XID 48 (Double Bit ECC Error)."),
        (_faulty(), HardwareHealth(xids=(Xid(999, 1, NOW),)), True, "XID 999 (see NVIDIA's XID catalog)"),
        (_faulty(lost=1.0), HardwareHealth(), True, "GPU has fallen off the bus"),
        (_faulty(throttled=0.3), HardwareHealth(), True, "Throttled 30"),
        (_faulty(), HardwareHealth(uncorrected=2.0), True, "2 uncorrectable ECC errors"),
        (_faulty(), HardwareHealth(remap_pending=1.0), True, "row remapping pending (needs a GPU reset)"),
        (_faulty(), HardwareHealth(remap_failed=1.0), True, "row remapping failed (replace the GPU)"),
        (_faulty(), HardwareHealth(links=18.0, links_up=16.0), True, "2 of 18 NVLinks down"),
        (_faulty(errors=0.01), HardwareHealth(), True, "9 errors in 15 min"),
        (healthy_world(), HardwareHealth(), None, "Hardware health unknown: no data on errors or throttling."),
    ],
)
def test_hardware_health(world: World, health: HardwareHealth, faulty: bool | None, words: str) -> None:
    """Only the GPU's own errors count; an XID of an application does not, and no data is not health."""
    text, found = hardware_health(world, 0, health)
    assert found is faulty
    assert words in text


def test_one_gpu_in_full() -> None:
    """Its services, GPU wait, and incident; by label or UUID."""
    world = contended()
    item = contention_incident(world)
    body = gpu_detail(snapshot(world, item), "GPU-0-0", HardwareHealth())
    assert (body["gpu"], body["host"], body["model"]) == ("host-0/gpu-0", "host-0", "H100")
    assert [one.service for one in body["services"]] == ["train-llm", "embedder"]
    wait = body["pairs"][0]
    assert (wait.victim, wait.aggressor) == ("embedder", "train-llm")
    assert wait.wait == pytest.approx(0.46)
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


def test_xid_errors_of_a_gpu_are_read_by_number() -> None:
    """Those of the last day, with the time of the last one."""
    source = Counted(
        series={
            "gpu_xid_errors_total": [({"xid": "63"}, 2.0), ({"xid": "79"}, 1.0), ({"xid": "31"}, 0.0)],
            "gpu_xid_last_timestamp_seconds": [({"xid": "63"}, NOW - 60), ({"xid": "79"}, NOW - 200_000)],
            "gpu_ecc_errors_total": [({"error_type": "corrected"}, 5.0), ({"error_type": "uncorrected"}, 0.0)],
            "gpu_nvlink_links": [({"uuid": "GPU-0-0"}, 18.0)],
            "gpu_throttled_seconds_total": [({"reason": "hw_thermal"}, 0.2), ({"reason": "idle"}, 0.0)],
        }
    )
    found = read_hardware(source, healthy_world().gpus[0], NOW)
    assert found.xids == (Xid(63, 2.0, NOW - 60),)
    assert (found.corrected, found.uncorrected, found.links) == (5.0, 0.0, 18.0)
    assert math.isnan(found.links_up)
    assert found.throttled == (("hw_thermal", 0.2),)


XID_COUNTERS: dict[str, tuple[float, dict[float, float], list[str]]] = {
    "an error today": (30, {1: 1}, ["ml/chat"]),
    "one before today": (30, {28: 1}, []),
    "one before today, and one today": (30, {28: 1, 2: 2}, ["ml/chat"]),
    "one today, after a restart of the exporter": (30, {28: 1, 9: math.nan, 2: 1}, ["ml/chat"]),
    "one before the first data": (0.5, {1: 1}, []),
}
"""Hours of data, the values of the counter of `ml/chat` from so many hours ago on, and the services shown."""


@pytest.mark.parametrize("case", XID_COUNTERS)
def test_an_xid_error_names_the_services_that_had_one_within_the_day(case: str, tmp_path: Path) -> None:
    """Counters begin with the exporter: another service may have had the last error."""
    hours, counter, expected = XID_COUNTERS[case]
    this = {"job": "exporter", "instance": "n1:1", "gpu": "0", "uuid": "GPU-0-0"}
    xid, service = {"xid": "31"}, {"service_namespace": "ml", "service_name": "chat"}
    batches = []
    for ago in np.arange(hours, -0.01, -1 / 30).tolist():
        begun = [start for start in counter if start >= ago]
        values = {
            "gpu_info": (1.0, this),
            "gpu_xid_errors_total": (9.0, this | xid),
            "gpu_xid_last_timestamp_seconds": (NOW - 60, this | xid),
            "gpu_service_xid_errors_total": (counter[min(begun)] if begun else math.nan, this | xid | service),
        }
        samples = (Sample(name, labels_of(labels), value) for name, (value, labels) in values.items() if value == value)
        batches.append(SampleBatch(NOW - 3600 * ago, "n1:1", tuple(samples)))
    with closing(Store.open(tmp_path / "store", now=lambda: NOW)) as store:
        store.append_samples(batches)
        (found,) = read_hardware(store, healthy_world().gpus[0], NOW).xids
    assert list(found.services) == expected


def test_the_activity_of_a_gpu_is_read_where_the_exporter_reports_it() -> None:
    """SMs, the tensor pipe, and DRAM bandwidth."""
    source = Counted(
        series={
            "gpu_sm_active_seconds_total": [({"uuid": "GPU-0-0"}, 0.12)],
            "gpu_tensor_active_seconds_total": [({"uuid": "GPU-0-0"}, 0.04)],
        }
    )
    sm, tensor, dram = read_hardware(source, healthy_world().gpus[0], NOW).activity
    assert (sm, tensor) == (0.12, 0.04)
    assert math.isnan(dram)


@pytest.mark.parametrize(
    ("busy", "sm", "sentence"),
    [
        (0.92, 0.12, "host-0/gpu-0 is busy 92% of the time, but only 12% of its SMs have work."),
        (0.92, 0.6, ""),
        (0.3, 0.05, ""),
        (0.92, math.nan, ""),
        (math.nan, 0.1, ""),
    ],
)
def test_a_busy_gpu_with_idle_sms_is_said_in_one_sentence(busy: float, sm: float, sentence: str) -> None:
    assert idle_sms("host-0/gpu-0", busy, sm) == sentence


def test_nvlink_is_both_directions_and_read_only_when_shown() -> None:
    """Sent and received; GPUs without data have none."""
    both = [({"uuid": "GPU-0-1"}, 2e9)]
    source = Counted(series={"gpu_nvlink_transmit_bytes_total": both, "gpu_nvlink_receive_bytes_total": both})
    values = read_nvlink(source, healthy_world())
    assert values[1] == 4e9
    assert np.isnan(values[0])
    caller = Caller(create_app(FakeHub(SCENES["healthy"](), metrics=source), version="0"))
    assert caller.get("/api/pages/fleet?metric=nvlink&sort=-nvlink").json()["rows"][0]["nvlink"] == 4e9
    assert caller.get("/api/pages/fleet").json()["rows"][0]["nvlink"] is None


def test_golden_charts_of_a_gpu(golden: Callable[[str, str], None]) -> None:
    """GPU time, throttling, errors, memory, power, and temperature of a contended GPU."""
    world = replace(contended(), hardware=_faulty(throttled=0.2, errors=0.05).hardware)
    charts = ("gpu-use", "gpu-throttling", "gpu-errors", "gpu-memory", "gpu-power", "gpu-temperature")
    drawn = [draw(PAGE, chart, snapshot(world), gpu="GPU-0-0") for chart in charts]
    for figure in drawn:
        for trace in figure["data"]:
            del trace["x"][4:], trace["y"][4:]
    golden("web-gpu.json", json.dumps(drawn, indent=1) + "\n")


def test_errors_have_an_axis_of_their_own() -> None:
    """3 per minute are not 300% of the time."""
    world = _faulty(throttled=0.2, errors=0.05)
    health, errors = (draw(PAGE, chart, snapshot(world), gpu="GPU-0-0") for chart in ("gpu-throttling", "gpu-errors"))
    assert [line["name"] for line in health["data"]] == ["throttled", "clock"]
    assert set(errors["data"][0]["y"]) == {3.0}
    assert health["layout"]["yaxis"]["tickformat"] == ",.0%"
    assert "%" not in errors["layout"]["yaxis"]["tickformat"]


@pytest.mark.parametrize(
    ("chart", "gpu", "words"),
    [
        ("gpu-use", "GPU-0-0", "No data for GPU time in this time range."),
        ("gpu-throttling", "GPU-0-0", "No data for throttling and clock in this time range."),
        ("gpu-errors", "GPU-0-0", "No data for hardware errors in this time range."),
        ("gpu-memory", "GPU-0-0", "No data for memory in this time range."),
        ("gpu-power", "GPU-0-0", "No data for power in this time range."),
        ("gpu-temperature", "GPU-0-0", "No data for temperature in this time range."),
        ("gpu-power", "gone", "No data for this GPU in this time range."),
    ],
)
def test_a_chart_of_a_gpu_without_data_names_what_is_missing(chart: str, gpu: str, words: str) -> None:
    world = healthy_world()
    figures = ("busy", "contended", "utilization", "memory_used", "memory_total", "power", "temperature")
    absent: dict[str, Any] = {name: np.full_like(getattr(world, name), np.nan) for name in figures}
    drawn = draw(PAGE, chart, snapshot(replace(world, hardware=None, **absent)), gpu=gpu)
    assert drawn["layout"]["annotations"][0]["text"] == words


def test_a_fleet_without_gpus_is_empty() -> None:
    """No GPU, no error."""
    body = fleet(snapshot(bare()), Selection())
    assert (body["rows"], body["counts"].gpus, body["values"]["bdata"]) == ([], 0, "")


def test_now_leaves_out_who_has_what_of_so_many_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be most of what a refresh sends; the grid then names the services alone."""
    assert data.now(snapshot(healthy_world()), "x")["tenants"]["busy"]
    monkeypatch.setattr(data, "MAX_TENANTS", 3)
    assert data.now(snapshot(healthy_world()), "x")["tenants"] == {"busy": "", "gpu_wait": ""}
