"""The catalog of XID errors, and its table in the reference."""

from __future__ import annotations

from pathlib import Path

import pytest

from foreshock_exporter.model.xid_catalog import CATALOG, UNLISTED, xid_info, xids_of

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "exporter.md"


@pytest.mark.parametrize("severity", ["fatal", "hardware", "application", "informational"])
def test_no_severity_contradicts_its_action(severity: str) -> None:
    """Fatal errors need a reset or a reboot, and informational ones nothing."""
    allowed = {"fatal": {"reset the GPU", "reboot the host"}, "informational": {"none"}}.get(severity)
    actions = {info.action for info in CATALOG.values() if info.severity == severity}
    assert actions
    assert allowed is None or actions <= allowed


def test_an_unlisted_xid_counts_as_hardware() -> None:
    assert xid_info(999) == UNLISTED
    assert 999 not in xids_of("fatal")
    assert UNLISTED.severity == "hardware"


def test_the_reference_has_the_catalog() -> None:
    rows = [f"| {xid} | {info.name} | {info.severity} | {info.action} |" for xid, info in sorted(CATALOG.items())]
    assert "\n".join(["|---|---|---|---|", *rows, ""]) in REFERENCE.read_text()
