"""`foreshock get` and `foreshock status`: lists from a hub or a recording."""

from __future__ import annotations

from collections.abc import Sequence

import click

from foreshock_dashboard.cli.incident import INCIDENT_COLUMNS, INCIDENT_FIELDS, incidents_at
from foreshock_dashboard.cli.options import GroupedCommand, fail_on_option, findings_code, output_option
from foreshock_dashboard.cli.output import Column, Row, document, show
from foreshock_dashboard.cli.source import Source, at_option, reads_source
from foreshock_dashboard.model.capacity.load import ShortageBasis
from foreshock_dashboard.model.cost.ledger import Holding
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.model.service import split_cluster
from foreshock_dashboard.render.clause import in_words, joined, joined_text, place
from foreshock_dashboard.render.cost_text import figure
from foreshock_dashboard.render.units import duration, percent, utc_timestamp
from foreshock_dashboard.render.words.capacity import CAPACITY_TEXTS
from foreshock_dashboard.render.words.cost import COST_TEXTS, HOLDINGS
from foreshock_dashboard.web.pages.contention.limits import LimitRow
from foreshock_dashboard.web.pages.cost.cost_json import GROUPINGS, CostRowJson
from foreshock_dashboard.web.state.change_json import ChangeJson
from foreshock_dashboard.web.state.lists import GpuRow, ServiceRow, TargetRow, TierRow

FORMATS = ("table", "json", "yaml", "csv")
GIB = 2**30
MAX_NAMES = 3
"""Names in a cell."""


def _names(names: list[str], gpu: str = "", most: int = MAX_NAMES) -> str | None:
    """The first names; gpu: that of the row, whose cluster they do not repeat."""
    more = f" +{len(names) - most}" if len(names) > most else ""
    shown = joined_text(joined(map(place, names[:most]), ","), split_cluster(gpu)[0])
    return shown + more if names else None


def _seconds(key: str) -> Column:
    return key.split("_")[0].upper(), lambda row: None if row[key] is None else duration(row[key])


def _ratio(head: str, key: str) -> Column:
    return head, lambda row: None if row[key] is None else percent(row[key])


def _is_suspect(row: Row) -> bool:
    """Whether a service is a suspected cause, which its condition does not say."""
    return bool(row["suspected"]) and row["condition"] != "suspected_cause"


SERVICE_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: in_words(row["service"])),
    ("HEALTH", lambda row: row["health"]),
    ("CONDITION", lambda row: f"{row['condition']}{', suspected_cause' if _is_suspect(row) else ''}"),
    ("REQ/S", lambda row: None if row["requests_per_second"] is None else f"{row['requests_per_second']:.3g}"),
    _ratio("ERRORS", "error_rate"),
    _seconds("p50_seconds"),
    _seconds("p95_seconds"),
    _seconds("p99_seconds"),
    ("GPUS", lambda row: str(len(row["gpus"]))),
)


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
    _ratio("UTIL", "utilization_ratio"),
    _ratio("CONTENDED", "contended_ratio"),
    ("MEMORY", _memory),
    ("POWER", lambda row: None if row["power_watts"] is None else f"{row['power_watts']:.0f} W"),
    ("TEMP", lambda row: None if row["temperature_celsius"] is None else f"{row['temperature_celsius']:.0f} °C"),
    ("SERVICES", lambda row: _names([item["service"] for item in row["services"]], row["gpu"])),
    ("ALLOCATED, NO PROCESS", lambda row: _names([item["pod"] for item in row["allocated"]])),
)


def _tier(name: str, gpu: str = "") -> str:
    """A tier, which may be the services of a cluster without one; gpu: see `_names`."""
    cluster, tier = split_cluster(name)
    return f"{tier or '(none)'}{f' in {cluster}' if cluster not in ('', split_cluster(gpu)[0]) else ''}"


POOL_COLUMNS: tuple[Column, ...] = (
    ("TIER", lambda row: _tier(row["tier"])),
    ("GPUS", lambda row: str(row["gpus"])),
    ("SHARED", lambda row: str(row["shared"])),
    ("LOAD", lambda row: None if row["load"] is None else f"{row['load']:.1f}"),
    _ratio("SAFE LIMIT", "safe_ratio"),
    ("NEEDED", lambda row: None if row["needed"] is None else str(row["needed"])),
    ("BOUND BY", lambda row: row["by"]),
    ("SERVICES", lambda row: _names(row["services"])),
)


def _tiers(row: Row) -> str:
    """The services of each tier of a GPU."""
    tiers, gpu = row["tiers"].items(), row["gpu"]
    return "; ".join(f"{_tier(tier, gpu)}: {_names(names, gpu, len(names))}" for tier, names in tiers)


SHARED_COLUMNS: tuple[Column, ...] = (
    ("SHARED GPU", lambda row: in_words(row["gpu"])),
    ("POOL", lambda row: in_words(row["pool"]) if row["pool"] else None),
    ("TIERS", _tiers),
)


def _of_safe(value: float | None, row: Row) -> str | None:
    """A load as a share of the safe limit."""
    return None if value is None or not row["safe"] else percent(value / row["safe"])


def _peak(row: Row) -> str | None:
    """`118% (95% to 140%)`, of the safe limit."""
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


LIMIT_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: in_words(row["service"])),
    ("RESOURCE", lambda row: row["name"]),
    ("AT", lambda row: in_words(row["place"])),
    ("LOST TIME (AT MOST)", lambda row: percent(row["wait_ratio"])),
    _ratio("AT LIMIT", "saturated_ratio"),
    ("SHARED WITH", lambda row: _names(row["shared_with"])),
    ("FIRST STEP", lambda row: row["step"]),
)
FORECAST_COLUMNS: tuple[Column, ...] = (
    ("SERVICE", lambda row: row["service"] or f"pool {row['pool']}"),
    ("KIND", lambda row: row["kind"]),
    ("OF SAFE LIMIT", lambda row: _of_safe(row["now"], row)),
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
    return HOLDINGS[row["holding"]] if row["holding"] != Holding.SERVICE else COST_TEXTS[f"no_{by}"]


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
    ("ON", lambda row: _names(row["on"])),
    ("ACTION", lambda row: row["action"]),
    _figure("GPU-HOURS SO FAR", "gpu_hours"),
    ("COST PER DAY", lambda row: None if row["cost_per_day"] is None else f"{row['cost_per_day']:,.2f}"),
    ("QUALITY", lambda row: row["quality"]),
)
MIN_PRICED_RATIO = 0.999

CHANGE_COLUMNS: tuple[Column, ...] = (
    ("TIME", lambda row: utc_timestamp(row["at"])),
    ("KIND", lambda row: row["kind"]),
    ("CHANGE", lambda row: row["text"]),
    ("SOURCE", lambda row: row["source"]),
    ("AUTHOR", lambda row: row["author"] or None),
    ("LINK", lambda row: row["link"] or None),
)
CHANGE_FIELDS = ChangeJson.columns()

TARGET_COLUMNS: tuple[Column, ...] = (
    ("TARGET", lambda row: in_words(row["instance"])),
    ("JOB", lambda row: row["job"]),
    ("UP", lambda row: None if row["up"] is None else "yes" if row["up"] else "no"),
    ("LAST SAMPLE", lambda row: None if row["age_seconds"] is None else f"{row['age_seconds']:.0f} s ago"),
)


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
@fail_on_option
def incidents(source: Source, at: str | None, form: str, fail_on: str | None) -> int:
    """List open incidents, most severe first.

    \b
    Examples:
      foreshock get incidents
      foreshock get incidents --from https://hub.example.com --http-config http.yml -o json
      foreshock get incidents --fail-on critical              exit with code 3 while a critical incident is open
    """
    answer = incidents_at(source, at)
    rows = answer["incidents"] = [row for row in answer["incidents"] if row["state"] != "resolved"]
    show(
        form,
        answer,
        rows,
        INCIDENT_COLUMNS,
        INCIDENT_FIELDS,
        "No open incidents. 'foreshock incident list' includes resolved ones.",
    )
    return findings_code(rows, fail_on)


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
    """List services that lose time at the limit of DRAM, PCIe, NVLink, power, or CPU, with a first step each.

    Lost time is an upper bound. Losses of at least 5% of the last two minutes are listed, the largest first.

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


@click.command(cls=GroupedCommand)
@reads_source
@output_option(*FORMATS)
@click.option("--service", metavar="NAME", default="", help="service to include, with its forecast for each time step")
@click.option("--traffic", metavar="FACTOR", help="what if: all traffic times this factor, 1 to 3")
@click.option("--lost", metavar="HOST", help="what if: this host is lost")
@click.option("--move", metavar="NAME", help="what if: replicas of this service move to the pool --move-to")
@click.option("--move-to", metavar="POOL", help="what if: pool to which the replicas move")
@click.option("--replicas", metavar="COUNT", help="what if: number of replicas that move (default: all ready replicas)")
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


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
@click.option("--range", "length", metavar="DURATION", help="length of the time range, 1h to 30d (default: 24h)")
@click.option("--by", type=click.Choice(GROUPINGS), default="service", show_default=True, help="grouping of the rows")
def cost(source: Source, at: str | None, form: str, length: str | None, by: str) -> None:
    """Show who holds GPU time, how much of it is busy, waiting, and idle, what it costs, and which GPUs are unused.

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


@click.command(cls=GroupedCommand)
@reads_source
@at_option
@output_option(*FORMATS)
def changes(source: Source, at: str | None, form: str) -> None:
    """List recent changes, such as deployments, newest first.

    \b
    Examples:
      foreshock get changes
      foreshock get changes --from incident -o json
    """
    answer = source.get("/api/changes", "changes", at=at)
    show(form, answer, answer["changes"], CHANGE_COLUMNS, CHANGE_FIELDS, "No changes.")


@click.command(cls=GroupedCommand)
@reads_source
@output_option(*FORMATS)
def targets(source: Source, form: str) -> None:
    """List scrape targets and the age of their last sample.

    \b
    Examples:
      foreshock get targets
      foreshock get targets -o json
    """
    rows = source.get("/api/status", "targets")["targets"]
    show(
        form,
        {"targets": rows},
        rows,
        TARGET_COLUMNS,
        TargetRow.columns(),
        "No scrape targets. Set --targets, --targets-file, or --prometheus-url on the hub.",
    )


@click.command(cls=GroupedCommand)
@reads_source
@output_option("table", "json", "yaml")
def status(source: Source, form: str) -> int:
    """Check whether a hub is ready: exit code 0 if it is, 1 if it is not.

    \b
    Examples:
      foreshock status
      foreshock status --from https://hub.example.com -o json
    """
    answer = source.get("/api/status", "ready", "reason")
    if form == "table":
        down = [row["instance"] for row in answer["targets"] if row["up"] is False]
        click.echo(f"{source.name}: {'ready' if answer['ready'] else 'not ready: ' + answer['reason']}")
        click.echo(f"version {answer['version']}, {len(answer['targets'])} targets, {len(down)} down")
    else:
        click.echo(document(form, answer))
    return 0 if answer["ready"] else 1
