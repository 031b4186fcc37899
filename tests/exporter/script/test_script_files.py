"""Sources of device scripts, and their documentation."""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.nvml.scripted import ScriptedHost, played

from foreshock_exporter import cli
from foreshock_exporter.model.device import DeviceError
from foreshock_exporter.script.events import ACTIONS, SETTINGS, Device, MigInstance, Process
from foreshock_exporter.script.files import BUILT_IN, LiveScript, load_script
from foreshock_exporter.script.lines import ScriptError, parse
from foreshock_exporter.script.mock import OpenScript, mock_network, mock_pressure, open_script
from foreshock_exporter.script.playback import Playback

if TYPE_CHECKING:
    from tests.conftest import Eventually

START = 1_700_000_000.0
DOCS = Path(__file__).parents[3] / "docs" / "internals" / "device-scripts.md"
Live = Callable[..., LiveScript]


def states(playback: Playback, *times: float) -> list[ScriptedHost]:
    return [played(playback, START + time) for time in times]


@contextmanager
def piped(text: str) -> Iterator[tuple[int, int]]:
    """A pipe that holds a text, as (read, write)."""
    read, write = os.pipe()
    os.write(write, text.encode())
    try:
        yield read, write
    finally:
        for descriptor in (read, write):
            try:
                os.close(descriptor)
            except OSError:
                continue


# --- built in -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_the_built_in_scripts_play_for_ever(name: str) -> None:
    """A day later as on the first day: four GPUs with services."""
    clock = [START]
    opened = open_script(name, lambda: clock[0])
    for clock[0] in (START + 100, START + 86_400 + 100):
        assert opened.driver.count() == 4
        for gpu in range(4):
            assert [opened.resolver(process.pid) for process in opened.driver.processes(gpu).listed].count(None) == 0
            assert opened.driver.read(gpu).power_watts is not None


def test_one_gpu_of_the_contended_host_is_contended() -> None:
    """At all times: at least 90% busy, two services with at least 5% each."""
    gpus = [host.gpus for host in states(Playback(load_script("contended"), START), *range(1, 200, 7))]

    for gpu in (found[0] for found in gpus):
        assert min(sample.ratio for sample in gpu.samples) > 0.9
        assert {process.service for process in gpu.processes} == {
            ("assistant", "chat-model"),
            ("platform", "batch-embeddings"),
        }
        assert min(sample.sm_ratio for sample in gpu.process_samples) > 0.05
    assert max(sample.ratio for found in gpus for sample in found[1].samples) < 0.9
    assert all(sample.ratio == 0.0 for found in gpus for sample in found[3].samples)


def test_nothing_is_wrong_with_the_healthy_host() -> None:
    """No errors, no faults, no throttling, no contention."""
    for host in states(Playback(load_script("healthy"), START), *range(1, 700, 50)):
        assert host.xids == ()
        for gpu in host.gpus:
            assert gpu.fault == ""
            assert set(gpu.counters.throttled_seconds.values()) == {0.0}
            assert {*gpu.health.ecc_errors.values(), *gpu.health.nvlink_errors.values(), gpu.health.pcie_replays} == {
                0.0
            }
            assert max((sample.ratio for sample in gpu.samples), default=0.0) < 0.9


def test_the_sick_script_has_most_faults() -> None:
    """Within ten minutes: a late, a lost, and a hung GPU, throttling, errors of memory, links, and slot, XIDs."""
    hosts = states(Playback(load_script("sick"), START), *range(1, 600, 5))
    last = hosts[-1]

    assert {gpu.fault for host in hosts for gpu in host.gpus} == {"", "late", "lost", "hang"}
    assert {xid.xid for xid in last.xids} == {63, 74, 79, 94}
    assert {reason for reason, seconds in last.gpus[0].counters.throttled_seconds.items() if seconds} == {
        "thermal",
        "hw_thermal",
        "power",
    }
    health = last.gpus[2].health
    assert all([*health.ecc_errors.values(), *health.nvlink_errors.values(), health.pcie_replays])
    assert (health.remapped_rows["uncorrected"], health.row_remap_pending) == (1.0, True)
    assert {host.gpus[2].health.nvlink_links_up for host in hosts} == {17, 18}


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_gives_driver_services_and_the_name_of_the_host(tmp_path: Path) -> None:
    """What stands for the real host."""
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '{"foreshock_device_script": 1, "host": "node-7", "host_id": "id-7"}\r\n{"gpu": 0, "device": {}}\r\n'
    )
    opened = open_script(str(path), lambda: START)

    assert (opened.host_name, opened.host_id, opened.driver.count()) == ("node-7", "id-7", 1)


def test_a_wrong_file_is_refused_with_its_name_and_line(tmp_path: Path) -> None:
    """Before anything starts."""
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b'{"foreshock_device_script": 1}\n{"gpu": 0, "device": {"nvlinks": "\xff"}}\n')

    with pytest.raises(ScriptError, match=r'mine\.jsonl, line 2, key "device\.nvlinks": .* not a whole number'):
        open_script(str(path), lambda: START)


@pytest.mark.parametrize("name", ["contented", "", "/", "no/such.jsonl"])
def test_an_unreadable_file_is_refused_with_the_alternatives(name: str) -> None:
    """The built-in scripts are named."""
    with pytest.raises(ScriptError, match=r"cannot be read: .*; give a file, - for .* contended, healthy, sick"):
        open_script(name, lambda: START)


# --- standard input -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_script_on_standard_input_gives_what_the_file_gives(name: str, tmp_path: Path) -> None:
    """The same states, for lines that come before their time; a live script does not loop."""
    text = (Path(cli.__file__).parent / "script" / "built_in" / f"{name}.jsonl").read_text()
    path = tmp_path / "script.jsonl"
    path.write_text(re.sub(r', "loop": \d+', "", text))
    with piped(text) as (read, write):
        os.close(write)
        live = LiveScript(read, lambda: START)
        assert live.join(30.0)

    times = (0.0, 0.2, 33.3, 200.0, 310.0, 599.0, 5000.0)
    assert states(live.playback, *times) == states(Playback(load_script(str(path)), START), *times)
    assert live.rejected == 0


def test_a_line_on_standard_input_happens_as_it_is_read(eventually: Eventually) -> None:
    """At its own time or immediately, never before."""
    clock = [START]
    with piped('{"foreshock_device_script": 1, "host": "node-9"}\n{"gpu": 0, "device": {}}\n') as (read, write):
        opened = open_script("-", lambda: clock[0], descriptor=read)
        driver = opened.driver
        eventually(lambda: driver.count() == 1, "the device is there")
        clock[0] = START + 10
        os.write(write, b'{"gpu": 0, "process": {"pid": 7, "sm": 0.5}}\n{"at": 20, "gpu": 0, "fault": "lost"}\n')
        eventually(lambda: bool(driver.processes(0).listed), "the process is there")
        clock[0] = START + 11.01
        ran = driver.process_utilization(0, round((START + 9) * 1e6))
        clock[0] = START + 20
        with pytest.raises(DeviceError, match="fell off the bus"):
            driver.read(0)
        driver.close()

    assert opened.host_name == "node-9"
    assert [round(entry.sm_ratio, 6) for entry in ran] == [0.25]


def test_a_wrong_line_on_standard_input_costs_only_itself(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and counted; many of them are only counted. At the end the GPUs stay."""
    good = '{"foreshock_device_script": 1}\n{"gpu": 0, "device": {}}\n{"gpu": 0, "fualt": "lost"}\n'
    with piped(good + "rubbish\n" * 100 + '{"gpu": 0, "xid": 79}\n') as (read, write):
        os.close(write)
        live = LiveScript(read, lambda: START)
        assert live.join(30.0)

    assert live.rejected == 101
    assert len(caplog.records) == 20
    assert caplog.messages[0].startswith('standard input, line 3, key "fualt": unknown key')
    assert caplog.messages[-1].endswith("further wrong lines are only counted")
    host = played(live.playback, START + 60)
    assert ([xid.xid for xid in host.xids], len(host.gpus)) == ([79], 1)


def test_without_a_first_line_the_exporter_starts_nevertheless() -> None:
    """A host of a common name without GPUs, until they come; closing ends the reading."""
    with piped("") as (read, _):
        opened = open_script("-", lambda: START, descriptor=read)
        opened.driver.close()

    assert (opened.host_name, opened.driver.count()) == ("mock-gpu-host", 0)


def test_closed_standard_input_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than reading whatever file has its number now."""
    monkeypatch.setattr("sys.stdin", None)

    with pytest.raises(ScriptError, match="give a file instead"):
        open_script("-", lambda: START)


# --- the rest of the mock host --------------------------------------------------------------------------------------


def test_the_mock_host_has_a_network_and_pressure_that_grow() -> None:
    """Under node_exporter's names."""
    clock = [START]
    collectors = (mock_network(lambda: clock[0]), mock_pressure(lambda: clock[0]))

    def shown() -> dict[str, float]:
        return {
            family.name: sample.value  # type: ignore[union-attr] # neither has a histogram
            for collector in collectors
            for family, samples in collector()
            for sample in samples
        }

    before = shown()
    clock[0] += 120.0
    after = shown()
    assert after["node_network_receive_bytes_total"] - before["node_network_receive_bytes_total"] == pytest.approx(
        108e9
    )
    assert after["node_pressure_cpu_waiting_seconds_total"] == pytest.approx(3.6)
    assert after["node_network_up"] == 1.0


# --- the documentation ----------------------------------------------------------------------------------------------


def table(record: type) -> str:
    """The keys of an object, as the documentation has them."""
    rows = [f"| `{part.name}` | {part.metadata['help']} |" for part in dataclasses.fields(record)]
    return "\n".join(["| key | meaning |", "|---|---|", *rows])


@pytest.mark.parametrize("record", [Device, MigInstance, Process])
def test_every_key_is_documented(record: type) -> None:
    """With the help text of the code."""
    assert table(record) in DOCS.read_text()


def test_every_setting_and_every_action_is_documented() -> None:
    """Settings in a table, actions each in a row of theirs."""
    text = DOCS.read_text()
    rows = [f"| `{name}` | {meaning} |" for name, (_, meaning) in SETTINGS.items()]

    assert "\n".join(["| key | meaning |", "|---|---|", *rows]) in text
    assert [name for name in ACTIONS if f"| `{name}` |" not in text] == []


def test_the_defaults_of_a_device_are_documented() -> None:
    """The documented line with all defaults equals an empty device."""
    (line,) = re.findall(r'^\{"gpu": 0, "device": \{"model": "Mock.*$', DOCS.read_text(), re.MULTILINE)
    action = parse(['{"foreshock_device_script": 1}', line], "docs").events[0].action

    assert action == Device()
    assert set(json.loads(line)["device"]) == {part.name for part in dataclasses.fields(Device)} - {"sharing", "wraps"}


def test_the_example_in_the_documentation_plays() -> None:
    """With the values in the text beside it."""
    (example,) = re.findall(r"```jsonl\n(\{\"foreshock_device_script\".*?)```", DOCS.read_text(), re.DOTALL)
    playback = Playback(parse(example.splitlines(), "docs"), START)
    before, contended, hung, after = (host.gpus[0] for host in states(playback, 9.0, 25.0, 70.0, 85.0))

    assert {process.service[1] for process in before.processes} == {"chat"}
    assert {process.service[1] for process in contended.processes} == {"chat", "batch"}
    assert contended.reading.utilization_ratio == pytest.approx(1.0)
    assert [gpu.fault for gpu in (before, contended, hung, after)] == ["", "", "hang", ""]
    assert [xid.xid for xid in played(playback, START + 85).xids] == [31]


def test_open_script_has_driver_resolver_and_host_identity() -> None:
    """Driver, resolver, and who the host is."""
    assert OpenScript._fields == ("driver", "resolver", "host_id", "host_name")
