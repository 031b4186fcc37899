"""`foreshock recording`: creates, converts, and replays recordings."""

from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import click

from foreshock_dashboard.cli.incident import INCIDENT_COLUMNS, INCIDENT_FIELDS, play
from foreshock_dashboard.cli.options import GroupedCommand, fail_on_option, findings_code, output_option
from foreshock_dashboard.cli.output import plain, show
from foreshock_dashboard.cli.source import match_option, prometheus_source
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.recording.convert import Converted, export, import_files
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.render.incident_text import change_line, incident_text, state_changes
from foreshock_dashboard.render.units import utc_timestamp
from foreshock_dashboard.replay.record import record
from foreshock_dashboard.replay.replay import ReplayResult
from foreshock_dashboard.settings.settings import SettingsError, load_settings, parse_flag
from foreshock_dashboard.settings.times import parse_time
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_dashboard.sources.http_config.values import HttpConfig
from foreshock_dashboard.web.state.incident_json import replayed

FILE = click.Path(path_type=Path)


@click.command("create", cls=GroupedCommand)
@click.option("--start", default="now-1h", metavar="TIME", help="start of the time range (default: now-1h)")
@click.option("--end", default="now", metavar="TIME", help="end of the time range (default: now)")
@match_option
@click.option(
    "--known-metrics", is_flag=True, help="record only metrics that the hub recognizes (explain can use any metric)"
)
@click.option("--output-dir", type=FILE, required=True, metavar="DIR", help="recording folder to create")
@click.option(
    "--from",
    "--prometheus-url",
    "place",
    metavar="URL",
    help="Prometheus URL (default: prometheus-url in --config) [env var: FORESHOCK_PROMETHEUS_URL]",
)
@click.option("--config", metavar="FILE", help="YAML file with hub options [env var: FORESHOCK_CONFIG]")
@click.option(
    "--http-config",
    "--prometheus-config",
    "prometheus_config",
    metavar="FILE",
    help="credentials, TLS, headers, and parameters, YAML in Prometheus http_config format (default: prometheus-config "
    "in --config) [env var: FORESHOCK_PROMETHEUS_CONFIG]",
)
def create(
    start: str,
    end: str,
    match: str,
    known_metrics: bool,
    output_dir: Path,
    place: str | None,
    config: str | None,
    prometheus_config: str | None,
) -> None:
    """Record a time range from Prometheus: raw samples of all metrics, but no traces.

    Start at least 30 min before the incident, so that baselines can be built.

    \b
    Examples:
      foreshock recording create --from http://prometheus:9090 --start now-2h --output-dir incident
      foreshock recording create --from http://mimir/prometheus --match 'namespace="shop"' --output-dir incident
      foreshock recording create --config hub.yml --start 2026-11-25T09:00:00Z --end now-1d --output-dir incident
    """
    settings = load_settings({"config": config, "prometheus_url": place, "prometheus_config": prometheus_config})
    if not settings.prometheus_url:
        raise SettingsError("--from: missing. Set it to the URL of your Prometheus.")
    http_config = HttpConfig()
    if settings.prometheus_config:
        try:
            http_config = read_http_config(settings.prometheus_config)
        except FileError as error:
            raise SettingsError(f"--http-config: {error}") from None
    now = time.time()
    first, last = (
        parse_flag(flag, lambda t: parse_time(t, now), text) for flag, text in (("--start", start), ("--end", end))
    )
    if not first < last <= now:
        raise SettingsError(
            "--start, --end: invalid time range. --start must be before --end, and --end must not be in the future."
        )
    bar = ProgressBar()
    source = prometheus_source(settings.prometheus_url, http_config, match, "--http-config")
    with closing(source):
        count = record(source, first, last, output_dir, known_only=known_metrics, progress=bar)
    bar.end(f"{output_dir}: {count:,} samples, in {time.time() - now:.1f} s")


@click.command("import", cls=GroupedCommand)
@click.option("--openmetrics", type=FILE, metavar="FILE", help="samples from promtool tsdb dump-openmetrics")
@click.option(
    "--otlp-json", type=FILE, metavar="FILE", help="spans as OTLP/JSON lines, from the Collector's file exporter"
)
@click.option("--output-dir", type=FILE, required=True, metavar="DIR", help="recording folder to create")
def import_(openmetrics: Path | None, otlp_json: Path | None, output_dir: Path) -> None:
    """Convert OpenMetrics and OTLP files to a recording.

    \b
    Examples:
      promtool tsdb dump-openmetrics --sandbox-dir-root=. --min-time=MS --max-time=MS DATA > metrics.om
      foreshock recording import --openmetrics metrics.om --otlp-json traces.json --output-dir incident
    """
    _require(openmetrics, otlp_json)
    began, bar = time.monotonic(), ProgressBar()
    converted = import_files(openmetrics, otlp_json, output_dir, bar)
    bar.end(f"{output_dir}: {_counts_text(converted)}, in {time.monotonic() - began:.1f} s")
    if converted.renamed:
        bar.end(f"{openmetrics}: {converted.renamed} series of a 0.1 exporter, imported under their new names")
    for reason, count in sorted(converted.rejected.items()):
        bar.end(f"{otlp_json}: {count} spans dropped: {reason}")


@click.command("export", cls=GroupedCommand)
@click.argument("recording", type=FILE)
@click.option("--openmetrics", type=FILE, metavar="FILE", help="OpenMetrics output file for the samples")
@click.option(
    "--otlp-json", type=FILE, metavar="FILE", help="OTLP/JSON output file for the spans, one request per line"
)
def export_(recording: Path, openmetrics: Path | None, otlp_json: Path | None) -> None:
    """Convert a recording to OpenMetrics and OTLP files.

    \b
    Examples:
      foreshock recording export incident --openmetrics metrics.om --otlp-json traces.json
      promtool tsdb create-blocks-from openmetrics metrics.om DATA
    """
    _require(openmetrics, otlp_json)
    began, bar = time.monotonic(), ProgressBar()
    with Recording(recording) as opened:
        converted = export(opened, openmetrics, otlp_json, bar)
    bar.end(f"{recording}: {_counts_text(converted)}, in {time.monotonic() - began:.1f} s")


@click.command("replay", cls=GroupedCommand)
@click.argument("recording", type=FILE)
@click.option("--until", metavar="TIME", help="replay only up to this time; now-5m is 5 min before the recording ends")
@output_option("table", "json", "yaml", "csv")
@fail_on_option
def replay_(recording: Path, until: str | None, form: str, fail_on: str | None) -> int:
    """Replay a recording as a live hub would have evaluated it, and print the resulting incidents.

    \b
    Examples:
      foreshock recording replay incident                          print each state change, then each incident
      foreshock recording replay incident --until 2026-01-05T08:42:00Z -o json
      foreshock recording replay incident --fail-on critical       exit with code 3 if it pages (for CI)
    """
    played = play(recording, "--until", until)
    answer = plain(replayed(played.final, played.paged))
    rows = answer["incidents"]
    if form == "table" and rows:
        for line in (change_line(when, item) for when, item in state_changes(played.history)):
            click.echo(line)
        for row in rows:
            click.echo(f"\n{incident_text(row)}")
    else:
        show(form, answer, rows, INCIDENT_COLUMNS, INCIDENT_FIELDS, _no_incident(played))
    return findings_code(rows, fail_on)


def _no_incident(played: ReplayResult) -> str:
    learned = played.learning
    why = (
        ""
        if learned.done
        else f" Baselines need {learned.need / 60:.0f} min of history; the recording contains {learned.have / 60:.0f}."
    )
    return f"No incidents from {utc_timestamp(played.times[0])} to {utc_timestamp(played.times[-1])}.{why}"


def _require(openmetrics: Path | None, otlp_json: Path | None) -> None:
    if not (openmetrics or otlp_json):
        raise SettingsError("--openmetrics, --otlp-json: both are missing. Pass at least one.")


def _counts_text(converted: Converted) -> str:
    counted = f" counted as {converted.counted:,} samples" if converted.counted else ""
    return f"{converted.samples:,} samples, {converted.spans:,} spans{counted}"
