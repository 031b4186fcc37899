"""`foreshock get cost`: who holds GPUs, how they use them, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence

import click

from foreshock_dashboard.cli.get.table import FORMATS, names
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.model.cost.ledger import Holding
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.render.cost_text import figure
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.render.words.cost import HOLDINGS
from foreshock_dashboard.render.words.panels import ABSENT
from foreshock_dashboard.web.pages.cost.cost_json import GROUPINGS, CostRowJson


def _figure(head: str, key: str) -> Column:
    return head, lambda row: None if row[key] is None else figure(row[key])


def _money(head: str, key: str) -> Column:
    """With a bound where only a part has a price."""
    return (
        head,
        lambda row: (
            None if row[key] is None else f"{'≥ ' if row['priced_ratio'] < MIN_PRICED_RATIO else ''}{row[key]:,.2f}"
        ),
    )


def _holder(row: Row, by: str) -> str:
    if row["name"]:
        return in_words(row["name"])
    return HOLDINGS[row["holding"]] if row["holding"] != Holding.SERVICE else ABSENT[by]


def _cost_columns(by: str, rows: Sequence[Row]) -> tuple[Column, ...]:
    """GPU-hours are the sum of the columns after them up to UNKNOWN. GPU wait is an upper bound beside them.

    Some are there only where they have values.
    """
    extra = [
        _figure(head, key)
        for head, key in (
            ("UNALLOCATED", "unallocated_gpu_hours"),
            ("UNKNOWN", "unknown_gpu_hours"),
            ("BORROWED", "borrowed_gpu_hours"),
            ("GPU WAIT (AT MOST)", "gpu_wait_gpu_hours"),
        )
        if any(row[key] for row in rows)
    ]
    return (
        ("HOLDER", lambda row: _holder(row, by)),
        ("POOL", lambda row: in_words(row["pool"]) if row["pool"] else None),
        ("OWNER", lambda row: row["owner"] or None),
        _figure("GPUS", "gpus"),
        _figure("GPU-HOURS", "gpu_hours"),
        _figure("BUSY", "busy_gpu_hours"),
        _figure("WAITING", "waiting_gpu_hours"),
        _figure("IDLE", "idle_gpu_hours"),
        *extra,
        _money("COST", "cost"),
        _money("IDLE COST", "idle_cost"),
    )


UNUSED_COLUMNS: tuple[Column, ...] = (
    ("UNUSED GPUS", lambda row: row["text"]),
    ("ON", lambda row: names(row["on"])),
    ("ACTION", lambda row: row["action"]),
    _figure("GPU-HOURS SO FAR", "gpu_hours"),
    ("COST PER DAY", lambda row: None if row["cost_per_day"] is None else f"{row['cost_per_day']:,.2f}"),
    ("QUALITY", lambda row: row["quality"]),
)

MIN_PRICED_RATIO = 0.999


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
@click.option("--range", "length", metavar="DURATION", help="length of the time range, 1h to 30d (default: 24h)")
@click.option("--by", type=click.Choice(GROUPINGS), default="service", show_default=True, help="grouping of the rows")
def cost(source: Source, at: str | None, form: str, length: str | None, by: str) -> None:
    """Show who holds GPUs, how much GPU time is busy, waiting, or idle, what the GPUs cost, and which are unused.

    Prices come from the hub's --prices.

    \b
    Examples:
      foreshock get cost
      foreshock get cost --range 7d --by owner
      foreshock get cost -o json | jq -r '.unused[] | select(.command) | .command'
    """
    answer = source.get("/api/cost", "rows", "unused", at=at, range=length, by=by)
    rows, unused = answer["rows"], answer["unused"]
    show(form, answer, rows, _cost_columns(by, rows), CostRowJson.columns(), answer["reason"])
    if form == "table" and rows:
        covered = f"From {utc_timestamp(answer['start'])} to {utc_timestamp(answer['end'])}."
        click.echo("\n" + "\n".join([covered, answer["split"], answer["summary"], answer["idle"], *answer["notes"]]))
        if unused:
            click.echo()
            show(form, answer, unused, UNUSED_COLUMNS, (), "")
        for command in (row["command"] for row in unused if row["command"]):
            click.echo(f"  {command}")
