"""What a scrape reads: the mock host's text as a golden file, accepted by promtool; what is absent stays absent."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from foreshock_exporter import names
from foreshock_exporter.device import DeviceError
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.mock import MockDriver, MockNetwork, MockPressure, mock_service
from foreshock_exporter.names import FAMILIES, Family
from foreshock_exporter.text import Sample, render

if TYPE_CHECKING:
    from tests.conftest import Golden
    from tests.exporter.conftest import ScriptedGpu, ScriptedHost, Series

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def mock_text(samples: int) -> bytes:
    """The mock host after so many samples, one a second."""
    clock = [1_000_000.0]

    def now() -> float:
        return clock[0]

    exporter = Exporter(
        MockDriver(now),
        mock_service,
        host_id="1",
        host_name="mock",
        now=now,
        mock=True,
        network=MockNetwork(now),
        pressure=MockPressure(now),
        timer=lambda: 0.0,
    )
    for _ in range(samples):
        exporter.sample()
        clock[0] += 1.0
    return exporter.render()


def without_versions(text: bytes) -> str:
    lines = text.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(names.BUILD_INFO.name))


def test_the_mock_host_gives_the_golden_exposition(golden: Golden) -> None:
    golden("exporter-mock.prom", without_versions(mock_text(61)))


def test_equal_times_give_equal_mock_hosts() -> None:
    assert mock_text(20) == mock_text(20)


def test_on_the_mock_host_one_gpu_of_four_is_contended(series: Callable[[bytes], Series]) -> None:
    found = series(mock_text(61))
    contended = {dict(labels)["gpu"]: value for (name, labels), value in found.items() if name == names.CONTENDED.name}
    assert contended == {"0": 60.0, "1": 0.0, "2": 0.0, "3": 0.0}
    stalled = {
        dict(labels)["service_name"]: value
        for (name, labels), value in found.items()
        if name == names.STALLED.name and ("gpu", "0") in labels
    }
    assert stalled["chat-model"] > stalled["batch-embeddings"] > 0


def test_all_counters_of_the_mock_host_only_grow(series: Callable[[bytes], Series]) -> None:
    before, after = series(mock_text(30)), series(mock_text(31))
    counters = {family.name for family in FAMILIES if family.kind == "counter"}
    assert not [key for key, value in before.items() if key[0] in counters and after[key] < value]


def test_a_gpu_has_at_most_sixty_series_besides_those_of_its_services(series: Callable[[bytes], Series]) -> None:
    of_gpu = [labels for _, labels in series(mock_text(3)) if ("gpu", "0") in labels]
    assert len([labels for labels in of_gpu if not dict(labels).get("service_name")]) <= 60


def test_promtool_finds_nothing_to_say_of_the_mock_host() -> None:
    checked = subprocess.run(["promtool", "check", "metrics"], input=mock_text(3), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_what_the_device_does_not_say_is_left_out(
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
    assert {"gpu_info", "gpu_power_watts", "gpu_service_processes", "foreshock_exporter_metric_absent"} <= present


def test_before_the_first_sample_only_the_exporter_and_its_host_are_told(
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
    assert b"nan" not in render([(names.GPU_PRESENT, [Sample((), float("nan"))])]).lower()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_every_metric_is_documented(family: Family) -> None:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
    assert f"| `{family.name}` | {family.kind} | {labels} | {family.help} |" in DOCS.read_text().splitlines()


def test_the_documentation_names_no_metric_that_does_not_exist() -> None:
    exporter_part = DOCS.read_text().partition("<!-- exporter -->")[2].partition("<!-- /exporter -->")[0]
    rows = [line.split("|")[1].strip(" `") for line in exporter_part.splitlines() if line.startswith("| `")]
    assert rows == [family.name for family in FAMILIES]
