"""`foreshock get gpus` and `foreshock get limits`: GPUs, and what services lose at the limits of other resources."""

from __future__ import annotations

from collections.abc import Sequence

import click

from foreshock_dashboard.cli.get.table import FORMATS, names, ratio
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.units import percent
from foreshock_dashboard.web.pages.contention.limits import LimitRow
from foreshock_dashboard.web.state.lists import GpuRow

GIB = 2**30


def _memory(row: Row) -> str | None:
    used, total = row["memory_used_bytes"], row["memory_total_bytes"]
    return None if used is None or total is None else f"{used / GIB:.0f}/{total / GIB:.0f} GiB"


def _gpu_columns(rows: Sequence[Row]) -> tuple[Column, ...]:
    """The vendor is a column where there are several, and sharing where a GPU uses MPS, or did."""
    vendor: Column = ("VENDOR", lambda row: row["vendor"] or None)
    sharing: Column = ("SHARING", _sharing)
    return (
        *GPU_COLUMNS[:1],
        *([vendor] if len({row["vendor"] for row in rows}) > 1 else []),
        *([sharing] if any(row["mps"] for row in rows) else []),
        *GPU_COLUMNS[1:],
    )


def _sharing(row: Row) -> str | None:
    """`mps`, or `mps: server ended`."""
    mps = row["mps"]
    if mps is None or mps["state"] == "running":
        sharing: str | None = row["sharing"]
        return sharing
    return f"mps: {mps['state'].replace('_', ' ')}"


_GPU_FIELDS = (*(name for name in GpuRow.columns() if name != "mps"), "mps.state", "mps.clients", "mps.servers")

GPU_COLUMNS: tuple[Column, ...] = (
    ("GPU", lambda row: in_words(row["gpu"])),
    ("MODEL", lambda row: row["model"] or None),
    ratio("UTIL", "utilization_ratio"),
    ratio("CONTENDED", "contended_ratio"),
    ("MEMORY", _memory),
    ("POWER", lambda row: None if row["power_watts"] is None else f"{row['power_watts']:.0f} W"),
    ("TEMP", lambda row: None if row["temperature_celsius"] is None else f"{row['temperature_celsius']:.0f} °C"),
    ("SERVICES", lambda row: names([item["service"] for item in row["services"]], row["gpu"])),
    ("ALLOCATED, NO PROCESS", lambda row: names([item["pod"] for item in row["allocated"]])),
)

LIMIT_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: in_words(row["service"])),
    ("RESOURCE", lambda row: row["name"]),
    ("AT", lambda row: in_words(row["place"])),
    ("LOST TIME (AT MOST)", lambda row: percent(row["wait_ratio"])),
    ratio("AT LIMIT", "saturated_ratio"),
    ("SHARED WITH", lambda row: names(row["shared_with"])),
    ("FIRST STEP", lambda row: row["step"]),
)


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def gpus(source: Source, at: str | None, form: str) -> None:
    """List GPUs with their utilization, contention, and services.

    \b
    Examples:
      foreshock get gpus
      foreshock get gpus -o yaml
    """
    answer = source.get("/api/gpus", "gpus", at=at)
    empty = "No GPUs. Scrape foreshock-exporter on GPU hosts."
    rows = answer["gpus"]
    show(form, answer, rows, _gpu_columns(rows), _GPU_FIELDS, empty)
    for row in rows if form == "table" else ():
        if row["mps"] and row["mps"]["state"] != "running":
            click.echo(f"\n{in_words(row['gpu'])}: {row['mps']['text']}")


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def limits(source: Source, at: str | None, form: str) -> None:
    """List services that lose time at the limit of DRAM, PCIe, NVLink, power, CPU, storage, or host memory.

    Each row suggests a first step. Lost time is an upper bound. Losses of at least 5% of the last two minutes are
    listed, largest first.

    \b
    Examples:
      foreshock get limits
      foreshock get limits --at now-1h -o json
    """
    rows = source.get("/api/contention", "limits", at=at)["limits"]
    if rows is None:
        raise SourceError(f"{source.name}: cannot read the metrics of limits. See the Status page of the hub")
    empty = "No service loses 5% of its time or more at the limit of another resource."
    show(form, {"limits": rows}, rows, LIMIT_COLUMNS, LimitRow.columns(), empty)
