"""`foreshock import` and `foreshock export`: convert recordings from and to OpenMetrics and OTLP files."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.common.progress import ProgressBar
from foreshock_dashboard.recording.convert import Converted, export, import_files
from foreshock_dashboard.recording.reader import Recording
from foreshock_dashboard.settings.settings import SettingsError

IMPORT_DESCRIPTION = """\
Makes a recording of what a Prometheus and a Collector have.

  promtool tsdb dump-openmetrics --sandbox-dir-root=. --min-time=MS --max-time=MS DATA > metrics.om
  foreshock import --openmetrics metrics.om --otlp-json traces.json --out incident"""
EXPORT_DESCRIPTION = """\
Writes a recording as what a Prometheus and a Collector take.

  foreshock export incident --openmetrics metrics.om --otlp-json traces.json
  promtool tsdb create-blocks-from openmetrics metrics.om DATA"""


def add_import_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("--openmetrics", metavar="FILE", help="samples, as promtool tsdb dump-openmetrics writes them")
    parser.add_argument("--otlp-json", metavar="FILE", help="spans, as the Collector's file exporter writes them")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of the recording, which is made")


def add_export_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("dir", metavar="DIR", help="folder of the recording")
    parser.add_argument("--openmetrics", metavar="FILE", help="write the samples, for promtool tsdb create-blocks-from")
    parser.add_argument("--otlp-json", metavar="FILE", help="write the spans, one request of OTLP in JSON a line")


def run_import(arguments: argparse.Namespace) -> int:
    """Make a recording of files; returns 0.

    Raises:
        SettingsError: no file is given.
        RecordingError: a file cannot be read, or the folder cannot be written.
    """
    metrics, spans = _files(arguments)
    began, bar = time.monotonic(), ProgressBar()
    converted = import_files(metrics, spans, Path(arguments.out), bar)
    bar.end(f"{arguments.out}: {_counts_text(converted)}, in {time.monotonic() - began:.1f} s")
    for reason, count in sorted(converted.rejected.items()):
        bar.end(f"{spans}: {count} spans were left out: {reason}")
    return 0


def run_export(arguments: argparse.Namespace) -> int:
    """Write a recording as files; returns 0.

    Raises:
        SettingsError: no file is given.
        RecordingError: the recording cannot be read, or a file cannot be written.
    """
    metrics, spans = _files(arguments)
    began, bar = time.monotonic(), ProgressBar()
    with Recording(Path(arguments.dir)) as recording:
        converted = export(recording, metrics, spans, bar)
    bar.end(f"{arguments.dir}: {_counts_text(converted)}, in {time.monotonic() - began:.1f} s")
    return 0


def _files(arguments: argparse.Namespace) -> tuple[Path | None, Path | None]:
    if not (arguments.openmetrics or arguments.otlp_json):
        raise SettingsError("--openmetrics, --otlp-json: neither is given; name at least one file")
    metrics, spans = arguments.openmetrics, arguments.otlp_json
    return Path(metrics) if metrics else None, Path(spans) if spans else None


def _counts_text(converted: Converted) -> str:
    return f"{converted.samples:,} samples, {converted.spans:,} spans"


IMPORT = Command(run_import, add_import_flags, IMPORT_DESCRIPTION)
EXPORT = Command(run_export, add_export_flags, EXPORT_DESCRIPTION)
