"""`foreshock get forecast`: capacity in the next days."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.table import FORMATS
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, reads_source
from foreshock_dashboard.model.capacity.load import ShortageBasis
from foreshock_dashboard.render.units import percent, utc_timestamp
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS


def _of_safe(value: float | None, row: Row) -> str | None:
    """A load as a share of the hourly safe limit."""
    return None if value is None or not row["safe"] else percent(value / row["safe"])


def _peak(row: Row) -> str | None:
    """`118% (95% to 140%)`, of the hourly safe limit."""
    peak = row["peaks"]["7d"]
    share, low, high = (_of_safe(peak[name], row) for name in ("median", "low", "high"))
    return None if share is None else f"{share} ({low} to {high})"


def _shortage(row: Row) -> str | None:
    """The time of the first shortage; `may be` where it only follows from the last days."""
    if row["shortage_at"] is None:
        return None
    prefix = f"{CAPACITY_TEXTS['may_be']} " if row["shortage_basis"] == ShortageBasis.RECENT else ""
    return prefix + utc_timestamp(row["shortage_at"])


def _needed(row: Row) -> str | None:
    """`9 (4 ready)`, or `9 (4 ready, autoscaler's maximum 6)` where that is what to raise."""
    if not row["replicas_to_add"]:
        return None
    if row["ready"] is None:
        return f"+{row['replicas_to_add']}"
    most = "" if row["max_replicas"] is None else f", autoscaler's maximum {row['max_replicas']:g}"
    return f"{row['ready'] + row['replicas_to_add']:g} ({row['ready']:g} ready{most})"


def _room(row: Row) -> str | None:
    """Replicas that fit, with those ready; free GPUs of a pool."""
    if row["room"] is None:
        return None
    return f"{row['room'] + (row['ready'] or 0 if row['service'] else 0):.0f}"


FORECAST_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: row["service"] or f"pool {row['pool']}"),
    ("KIND", lambda row: row["kind"]),
    ("OF HOURLY SAFE LIMIT", lambda row: _of_safe(row["now"], row)),
    ("PEAK IN 7 D (80% INTERVAL)", _peak),
    ("SHORTAGE", _shortage),
    ("NEEDED", _needed),
    ("ROOM", _room),
)

FORECAST_FIELDS = (
    *("service", "pool", "kind", "unit", "now", "safe", "capacity", "replicas", "ready"),
    *("peaks.24h.median", "peaks.24h.high", "peaks.7d.median", "peaks.7d.high", "peaks.7d.at"),
    *("shortage_at", "shortage_basis", "replicas_to_add", "max_replicas", "room"),
)


@click.command(cls=GroupedCommand)
@reads_source
@output_option(*FORMATS)
@click.option("--service", metavar="NAME", default="", help="service to include, with its forecast for each time step")
@click.option("--traffic", metavar="FACTOR", help="what if: multiply all traffic by this factor, 1 to 3")
@click.option("--lost", metavar="HOST", help="what if: this host is lost")
@click.option("--move", metavar="NAME", help="what if: replicas of this service move to the pool --move-to")
@click.option("--move-to", metavar="POOL", help="what if: pool to move the replicas to")
@click.option("--replicas", metavar="COUNT", help="what if: number of replicas to move (default: all ready replicas)")
def forecast(
    source: Source,
    form: str,
    service: str,
    traffic: str | None,
    lost: str | None,
    move: str | None,
    move_to: str | None,
    replicas: str | None,
) -> None:
    """Compare the load forecast for the next 7 days with safe limits, and list shortages and resources that run out.

    \b
    Examples:
      foreshock get forecast
      foreshock get forecast -o json | jq -r '.shortages[].text'
      foreshock get forecast --service serving/llm-chat -o json
      foreshock get forecast --traffic 1.3 --lost gpu-host-3
      foreshock get forecast --move serving/llm-chat --replicas 2 --move-to batch
    """
    case = {"traffic": traffic, "lost": lost, "move": move, "move_to": move_to, "replicas": replicas}
    answer = source.get("/api/forecast", "loads", service=service or None, **case)
    rows = answer["loads"]
    show(form, answer, rows, FORECAST_COLUMNS, FORECAST_FIELDS, answer["summary"])
    if form == "table" and rows:
        said = [
            *filter(None, [answer["case"]]),
            answer["summary"],
            *(row["text"] for row in answer["slow_burns"]),
            *answer["notes"],
        ]
        click.echo("\n" + "\n".join(said))
