"""Every field and GPM metric of the documented nvidia-ml-py is read, or left out with a reason in the documents."""

from __future__ import annotations

import re
from importlib.metadata import version
from pathlib import Path

import pynvml  # type: ignore[import-untyped] # nvidia-ml-py ships no type hints
import pytest
from tests.exporter.nvml.conftest import Open

from foreshock_exporter.nvml.activity import METRICS

DOCS = Path(__file__).parents[3] / "docs" / "reference" / "exporter.md"
LINKS = 18
DOCUMENTED = re.findall(r"in nvidia-ml-py ([\d.]+) is read, or left out", DOCS.read_text())
documented_version = pytest.mark.skipif(
    not any(version("nvidia-ml-py").startswith(f"{release}.") for release in DOCUMENTED),
    reason=f"the documents list the fields of nvidia-ml-py {', '.join(DOCUMENTED)}",
)
"""A newer release has more fields, which the range in pyproject.toml allows."""


def rows(table: str) -> list[list[str]]:
    """Cells of a table of the documents, without its head."""
    text = DOCS.read_text().partition(f"<!-- {table} -->")[2].partition(f"<!-- /{table} -->")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines()[3:]]


def left_out(table: str) -> list[int]:
    """Numbers in the first column of a table, with those between "1 to 3"."""
    found = [re.fullmatch(r"(\d+)(?: to (\d+))?", part.strip()) for row in rows(table) for part in row[0].split(",")]
    return [number for part in found if part for number in range(int(part[1]), int(part[2] or part[1]) + 1)]


def numbers(prefix: str) -> set[int]:
    """Ids of nvidia-ml-py, without the last one, which is their number."""
    found = {value for name, value in vars(pynvml).items() if name.startswith(prefix) and isinstance(value, int)}
    return found - {max(found)}


@documented_version
def test_each_field_is_read_or_left_out(driver: Open) -> None:
    adapter, fake = driver(field_values={(91, 0): (1, LINKS)})
    adapter.read(0)
    adapter.counters(0)
    adapter.health(0)
    read = {field for request in fake.requested_fields for field, _ in request}
    documented = left_out("left-out-fields")
    assert len(documented) == len(set(documented))
    assert not read & set(documented)
    assert read | set(documented) == numbers("NVML_FI_")


@documented_version
def test_each_gpm_metric_is_read_or_left_out() -> None:
    documented = left_out("left-out-gpm")
    assert len(documented) == len(set(documented))
    assert not set(METRICS) & set(documented)
    assert set(METRICS) | set(documented) == numbers("NVML_GPM_METRIC_")


@pytest.mark.parametrize("table", ["left-out-fields", "left-out-gpm"])
def test_each_row_has_a_subject_and_a_reason(table: str) -> None:
    assert rows(table)
    assert all(len(row) == 3 and all(row) for row in rows(table))
