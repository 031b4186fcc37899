"""`foreshock get services`."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.table import FORMATS, ratio
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.units import duration
from foreshock_dashboard.web.state.lists import ServiceRow


def _seconds(key: str) -> Column:
    return key.split("_")[0].upper(), lambda row: None if row[key] is None else duration(row[key])


def _is_suspect(row: Row) -> bool:
    """Whether a service is a suspected cause, which its condition does not say."""
    return bool(row["suspected"]) and row["condition"] != "suspected_cause"


SERVICE_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: in_words(row["service"])),
    ("HEALTH", lambda row: row["health"]),
    ("CONDITION", lambda row: f"{row['condition']}{', suspected_cause' if _is_suspect(row) else ''}"),
    ("REQ/S", lambda row: None if row["requests_per_second"] is None else f"{row['requests_per_second']:.3g}"),
    ratio("ERRORS", "error_rate"),
    _seconds("p50_seconds"),
    _seconds("p95_seconds"),
    _seconds("p99_seconds"),
    ("GPUS", lambda row: str(len(row["gpus"]))),
)


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def services(source: Source, at: str | None, form: str) -> None:
    """List services with their latency, error rate, and health.

    \b
    Examples:
      foreshock get services
      foreshock get services --from incident --at now-10m     from a recording, 10 min before its end
      foreshock get services -o csv > services.csv
    """
    answer = source.get("/api/services", "services", at=at)
    show(
        form,
        answer,
        answer["services"],
        SERVICE_COLUMNS,
        ServiceRow.columns(),
        "No services. Send spans or span metrics to the hub.",
    )
