"""docs/reference/collected-metrics.md lists the query catalog."""

from __future__ import annotations

from pathlib import Path

from foreshock_dashboard.model.query import Query
from foreshock_dashboard.world import calls, changes, cluster, gpus, hosts, model_servers, resources
from foreshock_dashboard.world.builder import catalog
from foreshock_dashboard.world.row import CatalogRow, RateWindows
from foreshock_dashboard.world.slow_burns import host_disks, named

WINDOWS = RateWindows(59.0, 29.0)
PARTS = {
    "Services and calls": calls,
    "GPUs": gpus,
    "Model servers": model_servers,
    "The cluster": cluster,
    "Hosts": hosts,
    "Resources": resources,
    "Changes": changes,
}
DOCUMENT = (Path(__file__).parents[2] / "docs" / "reference" / "collected-metrics.md").read_text()


def name(query: Query) -> str:
    """A metric with its matchers."""
    chosen = ",".join(
        f'{matcher.label}{matcher.op}"{matcher.value}"' for matcher in query.matchers if matcher.label != "device"
    )
    shown = f"{query.metric}{{{chosen}}}" if chosen else query.metric
    return f"`{shown}`".replace("|", "\\|")


def row(reading: CatalogRow) -> str:
    """One line of the table."""
    metrics = {form.query.metric for form in (*reading.ways, *reading.also)}
    escaped = {metric.replace(":", "_") for metric in metrics if ":" in metric}  # the document says so once for all
    others = dict.fromkeys(
        name(form.query).split("{")[0].rstrip("`") + "`"
        for form in reading.ways[1:]
        if form.query.metric not in escaped
    )
    more = [name(form.query) for form in reading.also if form.query.metric not in escaped]
    return f"| {name(reading.ways[0].query)} | {', '.join(others)} | {', '.join(more)} | {reading.lost} |"


def test_every_metric_is_documented_with_the_feature_that_needs_it() -> None:
    """One table for matcher part, whole."""
    for title, part in PARTS.items():
        rows = [row(reading) for reading in part.readings(WINDOWS).values()]
        table = "\n".join(["| metric | alternatives | also read | missing without it |", "|---|---|---|---|", *rows])

        assert f"## {title}\n" in DOCUMENT
        assert table in DOCUMENT, f"the table of {title!r} should be:\n{table}"


def test_slow_burns_are_documented() -> None:
    """They are of the capacity forecast alone, and in no World."""
    readings = [*named.readings(WINDOWS).values(), *host_disks.readings(WINDOWS).values()]
    rows = "\n".join(map(row, readings))
    table = f"| metric | alternatives | also read | missing without it |\n|---|---|---|---|\n{rows}"
    assert "## Slow burns\n" in DOCUMENT
    assert table in DOCUMENT, f"the table of slow burns should be:\n{table}"


def test_every_row_of_the_catalog_is_in_a_part() -> None:
    keys = {key for part in PARTS.values() for key in part.readings(WINDOWS)}
    assert keys == set(catalog(59.0))
