"""Exposition of the mock host, compared with a golden file and accepted by promtool; absent values stay absent."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.families import FEATURES
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.host import metrics as host_metrics
from foreshock_exporter.model import metric_sources, metrics
from foreshock_exporter.model.device import Counters, DeviceError, Instance, LinkBytes, Reading
from foreshock_exporter.model.family import Family, Sample
from foreshock_exporter.model.service import AttributedService
from foreshock_exporter.otlp import report as otlp_metrics
from foreshock_exporter.script.mock import mock_network, mock_pressure, open_script

if TYPE_CHECKING:
    from tests.conftest import Golden
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


def mock_text(samples: int, script: str = "contended") -> bytes:
    """The mock host after so many samples, one a second."""
    clock = [1_000_000.0]

    def now() -> float:
        return clock[0]

    played = open_script(script, now)
    exporter = Exporter(
        played.driver,
        played.resolver,
        host_id=played.host_id,
        host_name=played.host_name,
        now=now,
        mock=True,
        host={"network": mock_network(now), "pressure": mock_pressure(now)},
        timer=lambda: 0.0,
    )
    for _ in range(samples):
        exporter.sample()
        clock[0] += 1.0
    return exporter.render()


def without_versions(text: bytes) -> str:
    lines = text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(metrics.BUILD_INFO.name))


def test_the_mock_host_gives_the_golden_exposition(golden: Golden) -> None:
    golden("exporter-mock.prom", without_versions(mock_text(61)))


def test_equal_times_give_equal_mock_hosts() -> None:
    assert mock_text(20) == mock_text(20)


def test_on_the_mock_host_one_gpu_of_four_is_contended(series: Callable[[bytes], Series]) -> None:
    found = series(mock_text(61))
    contended = {
        dict(labels)["gpu"]: value for (name, labels), value in found.items() if name == metrics.CONTENDED.name
    }
    assert contended == {"0": pytest.approx(60.0, abs=1.0), "1": 0.0, "2": 0.0, "3": 0.0}
    gpu_wait = {
        dict(labels)["service_name"]: value
        for (name, labels), value in found.items()
        if name == metrics.SERVICE_WAIT.name and ("gpu", "0") in labels
    }
    assert gpu_wait["chat-model"] > gpu_wait["batch-embeddings"] > 0


def test_all_counters_of_the_mock_host_only_grow(series: Callable[[bytes], Series]) -> None:
    before, after = series(mock_text(30)), series(mock_text(31))
    counters = {family.name for family in (*metrics.FAMILIES, *host_metrics.FAMILIES) if family.kind == "counter"}
    assert not [key for key, value in before.items() if key[0] in counters and after[key] < value]


def test_a_gpu_has_at_most_ninety_series_besides_those_of_its_services(series: Callable[[bytes], Series]) -> None:
    found = [dict(labels) for _, labels in series(mock_text(3))]
    uuid = next(labels["uuid"] for labels in found if labels.get("gpu") == "0")
    of_gpu = [labels for labels in found if labels.get("gpu") == "0" or labels.get("uuid") == uuid]
    assert 40 < len([labels for labels in of_gpu if not labels.get("service_name")]) <= 90


def test_promtool_accepts_the_mock_host() -> None:
    checked = subprocess.run(["promtool", "check", "metrics"], input=mock_text(3), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_unsupported_values_are_left_out(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    host = scripted(gpu(utilization=None, broken_utilization=DeviceError("not_supported", "no"), memory={1: None}))
    exporter = host.exporter()
    exporter.sample()
    present = {name for name, _ in series(exporter.render())}
    assert not present & {
        "gpu_utilization_ratio", "gpu_busy_seconds_total", "gpu_unattributed_busy_seconds_total",
        "gpu_service_busy_seconds_total", "gpu_service_memory_used_bytes", "gpu_memory_used_bytes",
        "gpu_temperature_celsius", "gpu_contended_seconds_total",
    }  # fmt: skip
    assert {"gpu_info", "gpu_power_watts", "gpu_service_processes", "foreshock_exporter_metric_unavailable"} <= present


def test_before_the_first_sample_only_exporter_and_host_are_exposed(
    scripted: Callable[..., ScriptedHost], series: Callable[[bytes], Series]
) -> None:
    assert {name for name, _ in series(scripted().exporter().render())} == {
        "target_info", "foreshock_exporter_build_info", "foreshock_exporter_mock",
    }  # fmt: skip


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_and_value_survive_the_text_format(label: str, value: float) -> None:
    family = Family("some_metric", "gauge", ("label",), 'A "help" with \\ and\nlines.')
    text = render([(family, [Sample((label,), value)])]).decode()
    (parsed,) = text_string_to_metric_families(text)
    assert [(sample.labels, sample.value) for sample in parsed.samples] == [({"label": label}, value)]


def test_a_value_that_is_no_number_is_left_out() -> None:
    assert b"nan" not in render([(metrics.GPUS_PRESENT, [Sample((), float("nan"))])]).lower()


def documented(golden: bool) -> str:
    """Tables of docs/reference/metrics.md; written from the code with `golden`."""
    text = DOCS.read_text()
    begin, end = "<!-- exporter-tables -->\n", "<!-- /exporter-tables -->"
    head, _, rest = text.partition(begin)
    table, _, tail = rest.partition(end)
    if golden:
        DOCS.write_text(head + begin + tables() + end + tail)
        return tables()
    return table


def tables() -> str:
    """Metrics of the code as Markdown tables."""
    parts = (
        ("GPUs", metrics.FAMILIES, metric_sources.SOURCES),
        ("The host", host_metrics.FAMILIES, host_metrics.SOURCES),
        ("Pushes over OTLP", otlp_metrics.FAMILIES, otlp_metrics.SOURCES),
    )
    return "".join(f"\n### {title}\n\n{table(families, sources)}" for title, families, sources in parts) + "\n"


def table(families: Iterable[Family], sources: Mapping[Family, str]) -> str:
    rows = ["| name | kind | unit | labels | from | meaning |", "|---|---|---|---|---|---|"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        meaning = family.help.replace("|", "\\|")
        rows.append(f"| `{family.name}` | {family.kind} | {unit(family)} | {labels} | {sources[family]} | {meaning} |")
    return "\n".join(rows) + "\n"


def unit(family: Family) -> str:
    """The unit that the name ends with, in full."""
    name = family.name.removesuffix("_total")
    units = ("seconds", "bytes", "joules", "watts", "celsius", "hertz", "ratio")
    return next((each for each in units if name.endswith(f"_{each}")), "–")


def test_golden_documentation_of_every_metric(request: pytest.FixtureRequest) -> None:
    """docs/reference/metrics.md gives each metric with its kind, unit, labels and source; `make golden` writes it."""
    assert documented(bool(request.config.getoption("--golden"))) == tables()


def test_mig_instances_are_exposed_with_their_memory(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    host = scripted(gpu(sharing="mig"))
    host.read = lambda gpu: Reading(instances=(Instance("MIG-1", 7, 0, "1g.10gb", 5.0, 10.0),))  # type: ignore[method-assign]
    exporter = host.exporter()
    exporter.sample()
    found = series(exporter.render())
    of_gpu = {("gpu", "0"), ("uuid", "GPU-0"), ("mig_uuid", "MIG-1")}
    assert found["gpu_mig_memory_used_bytes", frozenset(of_gpu)] == 5.0
    assert found["gpu_mig_memory_total_bytes", frozenset(of_gpu)] == 10.0
    info = of_gpu | {("gpu_instance", "7"), ("compute_instance", "0"), ("profile", "1g.10gb")}
    assert found["gpu_mig_info", frozenset(info)] == 1.0


def test_the_jobs_of_a_service_are_shown_while_they_hold_the_gpu(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """One series per job of a service, which is one service for all of them."""
    host = scripted(gpu(memory={1: 1 << 30, 2: 1 << 30, 3: 1 << 30}))
    train = partial(AttributedService, "ada", "train", "slurm")
    host.services = {1: train("981_1"), 2: train("981_2"), 3: AttributedService("", "vllm", "systemd")}
    exporter = host.exporter()

    def jobs() -> list[dict[str, str]]:
        exporter.sample()
        return [dict(labels) for name, labels in series(exporter.render()) if name == "gpu_service_job_info"]

    shown = {"gpu": "0", "uuid": "GPU-0", "service_name": "train", "service_namespace": "ada", "source": "slurm"}
    assert jobs() == [{**shown, "job_id": "981_1"}, {**shown, "job_id": "981_2"}]
    host.gpus[0].memory = {2: 1 << 30}
    host.time += 1
    assert jobs() == [{**shown, "job_id": "981_2"}]


def test_every_absent_metric_has_its_reason(
    scripted: Callable[..., ScriptedHost], gpu: type[ScriptedGpu], series: Callable[[bytes], Series]
) -> None:
    """A missing metric is explained in the same scrape."""
    counters = Counters(
        energy_joules=1.0, nvlink_links={3: LinkBytes(5.0, 6.0)}, absent={"pcie_transmit_bytes": "no_permission"}
    )
    exporter = scripted(gpu(counters=counters)).exporter()
    exporter.sample()
    found = series(exporter.render())
    present = {name for name, _ in found}
    absent = {
        dict(labels)["metric"]: dict(labels)["reason"]
        for name, labels in found
        if name == "foreshock_exporter_metric_unavailable"
    }
    assert absent["gpu_pcie_transmit_bytes_total"] == "no_permission"
    assert absent["gpu_ecc_errors_total"] == "not_supported"
    assert not present & absent.keys()
    optional = {
        "gpu_mig",
        "gpu_pool",
        "gpu_xid",
        "gpu_nvlink_link",
        "gpu_service",
        "gpu_alloca",
        "gpu_host",
        "gpu_mps",
        "gpu_xgmi",
    }
    optional |= {"gpu_resource"}  # counts from the second reading on
    optional |= {family.name for family, _, _ in FEATURES}
    expected = {
        family.name for family in metrics.FAMILIES if family.name.startswith("gpu_") and family.kind != "histogram"
    }
    missing = {name for name in expected - present - absent.keys() if not any(map(name.startswith, optional))}
    assert not missing
    link = frozenset({("gpu", "0"), ("uuid", "GPU-0"), ("link", "3")})
    assert found["gpu_nvlink_port_receive_bytes_total", link] == 6.0
