"""`foreshock get forecast`: capacity in the next days."""

from __future__ import annotations

import math
from collections.abc import Callable

import click

from foreshock_dashboard.cli.get.table import FORMATS
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, reads_source
from foreshock_dashboard.model.capacity.load import ShortageBasis
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.render.clause import filled_text
from foreshock_dashboard.render.units import elapsed, load_percent, percent, utc_timestamp
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS
from foreshock_dashboard.web.state.capacity_json import CURRENT_FIELDS, FORECAST_FIELDS


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


def _ready(row: Row) -> str | None:
    """`4`, or `4 (autoscaler's maximum 6)` where that is what to raise."""
    if row["ready"] is None:
        return None
    most = row.get("max_replicas")
    return f"{row['ready']:g}" + ("" if most is None else f" (autoscaler's maximum {most:g})")


def _needed(case: str, seconds: float = 0.0) -> Callable[[Row], str | None]:
    """`+2 (6 in total, 1 short)`, `enough`, or why it is unknown; GPUs to add to a pool.

    case: a field of `need`. seconds: of the heading; a row with less data says so.
    """

    def cell(row: Row) -> str | None:
        if row["service"] is None:
            return f"+{row['replicas_to_add']}" if case == "peak" and row["replicas_to_add"] else None
        need = row["need"]
        needed, added, short = (need[case][name] for name in ("needed", "added", "short"))
        if needed is None:
            return CAPACITY_TEXTS["not_learned"] if row["safe"] is None else None
        least = "≥ " if need["is_lower_bound"] else ""
        words = CAPACITY_TEXTS["in_all_short" if short else "in_all"]
        total = filled_text(words, needed=f"{least}{needed:g}", short=f"{least}{short or 0:g}")
        text = total if added is None else f"{least}+{added:g} ({total})" if added else CAPACITY_TEXTS["enough"]
        own = elapsed(row.get("peak_seconds") or seconds)
        if not seconds or own == elapsed(seconds):
            return text
        return f"{text}, {filled_text(CAPACITY_TEXTS['data_of'], time=own)}"

    return cell


def _room(row: Row) -> str | None:
    """`1 more in chat`: replicas, or free GPUs of a pool."""
    if row["room"] is None:
        return None
    return f"{row['room']:g} more" + (f" in {row['pool']}" if row["service"] and row["pool"] else "")


def _load(row: Row) -> str | None:
    """`82% (safe limit 76%)`."""
    if row["safe"] is None:
        return CAPACITY_TEXTS["not_learned"]
    return f"{load_percent(row['load'])} (safe limit {percent(row['safe'])})" if row["load"] is not None else None


def _headroom(row: Row) -> str | None:
    """Of the safe limit; `7% over` above it."""
    if row["load"] is not None and row["load"] > 1:
        return CAPACITY_TEXTS["overloaded"]
    if row["headroom"] is None:
        return None
    points = math.floor(100 * abs(row["headroom"]) + 0.5)  # as a script rounds it on the page
    if not points:
        return CAPACITY_TEXTS["at_limit"]
    return f"{points}%{' over' if row['headroom'] < 0 else ''}"


SERVICE: Column = ("SERVICE", lambda row: row["service"] or f"pool {row['pool']}")


def _replicas(seconds: float) -> tuple[Column, ...]:
    """Columns of replicas, as on the page. seconds: time that the peak is of."""
    return (
        ("READY", _ready),
        (filled_text(CAPACITY_TEXTS["needed_peak"], time=elapsed(seconds)).upper(), _needed("peak", seconds)),
        (CAPACITY_TEXTS["more_traffic"].upper(), _needed("more_traffic")),
        (CAPACITY_TEXTS["host_lost"].upper(), _needed("host_lost")),
        (CAPACITY_TEXTS["room"].upper(), _room),
    )


FORECAST_COLUMNS: tuple[Column, ...] = (
    SERVICE,
    ("KIND", lambda row: row["kind"]),
    ("NOW", lambda row: _of_safe(row["now"], row)),
    ("PEAK IN 7 D (80% INTERVAL)", _peak),
    ("SHORTAGE", _shortage),
    *_replicas(7 * DAY_SECONDS),
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
    """Compare the load forecast for the next 7 days with safe limits, and list shortages, needed replicas, and
    resources that run out.

    If there is no forecast, list the measured load and the replicas that it needs.

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
    rows, columns, fields = answer["loads"], FORECAST_COLUMNS, FORECAST_FIELDS
    if not rows and answer["current"]:
        rows, fields = answer["current"], CURRENT_FIELDS
        longest = max(row["peak_seconds"] or 0.0 for row in rows)
        columns = (SERVICE, ("LOAD", _load), ("HEADROOM", _headroom), *_replicas(longest))
    show(form, answer, rows, columns, fields, answer["summary"])
    if form == "table" and rows:
        said = [
            *filter(None, [answer["case"]]),
            answer["summary"],
            *(row["text"] for row in answer["slow_burns"]),
            *answer["notes"],
        ]
        click.echo("\n" + "\n".join(said))
