"""`foreshock get pools`: GPUs by tier."""

from __future__ import annotations

import click

from foreshock_dashboard.cli.get.table import FORMATS, names, ratio
from foreshock_dashboard.cli.options import GroupedCommand, output_option
from foreshock_dashboard.cli.output import Column, Row, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.render.clause import in_words
from foreshock_dashboard.web.state.lists import TierRow


def _tier(name: str, gpu: str = "") -> str:
    """A tier, which may be the services of a cluster without one; gpu: see `_names`."""
    cluster, tier = split_cluster(name)
    return f"{tier or '(none)'}{f' in {cluster}' if cluster not in ('', split_cluster(gpu)[0]) else ''}"


POOL_COLUMNS: tuple[Column, ...] = (
    ("TIER", lambda row: _tier(row["tier"])),
    ("GPUS", lambda row: str(row["gpus"])),
    ("SHARED", lambda row: str(row["shared"])),
    ("LOAD", lambda row: None if row["load"] is None else f"{row['load']:.1f}"),
    ratio("SAFE LIMIT", "safe_ratio"),
    ("NEEDED", lambda row: None if row["needed"] is None else str(row["needed"])),
    ("BOUND BY", lambda row: row["by"]),
    ("SERVICES", lambda row: names(row["services"])),
)


def _tiers(row: Row) -> str:
    """The services of each tier of a GPU."""
    tiers, gpu = row["tiers"].items(), row["gpu"]
    return "; ".join(f"{_tier(tier, gpu)}: {names(found, gpu, len(found))}" for tier, found in tiers)


SHARED_COLUMNS: tuple[Column, ...] = (
    ("SHARED GPU", lambda row: in_words(row["gpu"])),
    ("POOL", lambda row: in_words(row["pool"]) if row["pool"] else None),
    ("TIERS", _tiers),
)


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def pools(source: Source, at: str | None, form: str) -> None:
    """Show the GPUs in each tier, the minimum each tier needs to absorb bursts, and the GPUs shared by several tiers.

    A service's tier comes from the hub's --tiers, then service_tier_info, then its namespace.

    \b
    Examples:
      foreshock get pools
      foreshock get pools --from incident -o csv
    """
    answer = source.get("/api/pools", "tiers", "mixed", at=at)
    show(form, answer, answer["tiers"], POOL_COLUMNS, TierRow.columns(), "No services are using a GPU.")
    if form == "table" and answer["mixed"]:
        click.echo()
        show(form, answer, answer["mixed"], SHARED_COLUMNS, (), "")
