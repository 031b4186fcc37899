"""InfiniBand ports on file trees."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.host.infiniband import (
    COUNTER_BITS,
    MAX_PORTS,
    SysInfiniband,
    families,
    parse_counter,
    parse_rate,
    parse_state,
)
from foreshock_exporter.host.metrics import INFINIBAND_COUNTERS
from foreshock_exporter.model.family import Families, Sample

if TYPE_CHECKING:
    from tests.exporter.conftest import Tree

PORT = "class/infiniband/mlx5_0/ports/1"
ADAPTER = {
    "class/infiniband/mlx5_0/board_id": "MT_0000000838\n",
    "class/infiniband/mlx5_0/fw_ver": "28.41.1000\n",
    "class/infiniband/mlx5_0/hca_type": "MT4129\n",
    f"{PORT}/state": "4: ACTIVE\n",
    f"{PORT}/phys_state": "5: LinkUp\n",
    f"{PORT}/rate": "400 Gb/sec (4X NDR)\n",
}


def values(emitted: Families) -> dict[tuple[str, tuple[str, ...]], float]:
    return {
        (family.name, sample.labels): sample.value
        for family, samples in emitted
        for sample in samples
        if isinstance(sample, Sample)
    }


def test_a_port_is_read_with_its_state_rate_and_counters(tree: Tree) -> None:
    root = tree({
        **ADAPTER,
        f"{PORT}/counters/port_xmit_data": "1000\n",
        f"{PORT}/counters/symbol_error": "3\n",
        f"{PORT}/counters/VL15_dropped": "N/A (no PMA)\n",
        f"{PORT}/hw_counters/rnr_nak_retry_err": "9\n",
        f"{PORT}/hw_counters/lifespan": "10\n",
        f"{PORT}/hw_counters/of_another_driver": "?\n",
    })  # fmt: skip
    port = ("mlx5_0", "1")
    assert values(SysInfiniband(root)()) == {
        ("node_infiniband_info", ("mlx5_0", "MT_0000000838", "28.41.1000", "MT4129")): 1.0,
        ("node_infiniband_state_id", port): 4,
        ("node_infiniband_physical_state_id", port): 5,
        ("node_infiniband_rate_bytes_per_second", port): 5e10,
        ("node_infiniband_lifespan_seconds", port): 0.01,
        ("node_infiniband_port_data_transmitted_bytes_total", port): 4000,
        ("node_infiniband_symbol_error_total", port): 3,
        ("node_infiniband_rnr_nak_retry_packets_received_total", port): 9,
    }


def test_a_host_without_infiniband_has_nothing_and_no_error(tree: Tree) -> None:
    assert values(SysInfiniband(tree({"class/net/lo/operstate": ""}))()) == {}


def test_a_port_that_hides_its_files_is_still_an_adapter(tree: Tree) -> None:
    root = tree({f"{PORT}/gids/0": "", "class/infiniband/irdma0/fw_ver": "1.70\n"})
    assert values(SysInfiniband(root)()) == {
        ("node_infiniband_info", ("irdma0", "", "1.70", "")): 1.0,
        ("node_infiniband_info", ("mlx5_0", "", "", "")): 1.0,
    }


@pytest.mark.parametrize("file", COUNTER_BITS)
def test_a_counter_that_saturated_is_left_out_and_one_below_its_limit_is_not(file: str, tree: Tree) -> None:
    """Values of a real H100 host: port_xmit_wait 4294967295, link_downed 255, port_xmit_discards 65535."""
    limit = 2 ** COUNTER_BITS[file] - 1
    family = INFINIBAND_COUNTERS[file].name
    series = (family, ("mlx5_0", "1"))
    assert series not in values(SysInfiniband(tree({**ADAPTER, f"{PORT}/{file}": f"{limit}\n"}))())
    assert series in values(SysInfiniband(tree({f"{PORT}/{file}": f"{limit - 1}\n"}))())


def test_a_counter_of_64_bits_does_not_stop_at_32(tree: Tree) -> None:
    root = tree({**ADAPTER, f"{PORT}/counters/port_xmit_data": f"{2**32}\n"})
    assert values(SysInfiniband(root)())["node_infiniband_port_data_transmitted_bytes_total", ("mlx5_0", "1")] == 2**34


def test_saturation_is_logged_once_and_again_after_a_reset(tree: Tree, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "foreshock_exporter")
    root = tree({**ADAPTER, f"{PORT}/counters/link_downed": "255\n", f"{PORT}/counters/port_xmit_discards": "65535\n"})
    read = SysInfiniband(root)
    read()
    read()
    (message,) = caplog.messages
    assert "mlx5_0 port 1" in message
    assert "link_downed = 255" in message
    assert "port_xmit_discards = 65535" in message
    assert "perfquery -R" in message
    tree({f"{PORT}/counters/link_downed": "0\n", f"{PORT}/counters/port_xmit_discards": "0\n"})
    read()
    assert len(caplog.messages) == 1
    tree({f"{PORT}/counters/link_downed": "255\n"})
    read()
    assert len(caplog.messages) == 2


def test_an_error_for_a_malformed_counter_names_the_file(tree: Tree) -> None:
    root = tree({**ADAPTER, f"{PORT}/counters/link_downed": "many\n"})
    with pytest.raises(ValueError, match=r"ports/1/counters/link_downed: 'many' is not a count"):
        SysInfiniband(root)()


def test_more_ports_than_the_limit_are_refused_with_the_remedy(tree: Tree) -> None:
    root = tree({f"class/infiniband/mlx5_{number}/ports/1/state": "" for number in range(MAX_PORTS + 1)})
    with pytest.raises(ValueError, match=r"--no-collector\.infiniband"):
        SysInfiniband(root)()


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100 Gb/sec (4X EDR)", 12.5e9),
        ("2.5 Gb/sec (1X SDR)", 312.5e6),
        ("", None),
        ("fast Gb/sec", None),
        ("100", None),
    ],
)
def test_a_rate_is_in_bytes_per_second(text: str, rate: float | None) -> None:
    assert parse_rate(text) == rate


@given(st.text())
def test_no_text_breaks_the_parsers_but_by_saying_so(text: str) -> None:
    parse_state(text)
    parse_rate(text)
    try:
        parse_counter(text, "file")
    except ValueError as error:
        assert str(error).startswith("file: ")  # noqa: PT017 - it may also be readable


def test_families_without_a_sample_are_not_written() -> None:
    assert render(families([])) == b""
