"""`foreshock alerts`: writes the alert rules for a Prometheus, with the hub's address and the SLOs."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping

import yaml

from foreshock_dashboard.cli.commands import Command
from foreshock_dashboard.cli.hub_client import HUB_URL, add_output_flags, hub_url
from foreshock_dashboard.common.package_data import alerts_dir
from foreshock_dashboard.ingest.span_metrics.histogram import BUCKET_BOUNDS
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.render.slo_rules import Rule, operator_rule, rule_file, slo_rule_groups
from foreshock_dashboard.settings.settings import SettingsError, add_flags, load_settings

DESCRIPTION = """\
Writes the alert rules that come along into a folder for a Prometheus, with the address of this hub in every link, and
burn rates of what services promise. Rules are written anew; the example for Alertmanager, into which your receivers go,
only where there is none.

  foreshock alerts --out /etc/prometheus/foreshock --hub https://hub.example.com --slo llm-chat=20s:1%

With --operator, all rules as one object for the Prometheus operator, prometheusrule.yaml, and nothing else."""
USER_FILES = ("alertmanager.yml",)
"""Files that users edit, and that are not overwritten."""
SLO_RULES = "objectives.rules.yml"
HEAD = "# Written by `foreshock alerts` from the hub's objectives; write it again when they change.\n"
OPERATOR = "prometheusrule.yaml"
OPERATOR_HEAD = (
    "# Written by `foreshock alerts --operator`: change its options or alerts/*.rules.yml, and write it again.\n"
)


def add_alerts_flags(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_output_flags(parser)
    parser.add_argument("--operator", action="store_true", help=f"write {OPERATOR}, for the Prometheus operator, alone")
    parser.add_argument(
        "--buckets",
        metavar="SECONDS",
        help="bounds of the buckets of request durations, with commas, where others than a hub make the span metrics",
    )
    add_flags(parser, only=("slo",))


def run_alerts(arguments: argparse.Namespace) -> int:
    """Write the files; returns 0. Raises SettingsError for an option, SourceError for a file."""
    hub, bounds, slos = hub_url(arguments), _bounds(arguments.buckets), load_settings(arguments).slo
    try:
        groups = slo_rule_groups(slos, bounds)
    except ValueError as error:
        raise SettingsError(f"slo: {error}") from None
    try:
        shipped = alerts_dir()
        files = {file.name: file.read_text().replace(HUB_URL, hub) for file in sorted(shipped.glob("*.yml"))}
        if arguments.operator:
            files = {OPERATOR: OPERATOR_HEAD + operator_rule([*_groups(files), *groups])}
        elif groups:
            files[SLO_RULES] = HEAD + rule_file(groups)
        arguments.out.mkdir(parents=True, exist_ok=True)
        existing = {name for name in USER_FILES if name in files and (arguments.out / name).exists()}
        for name, text in files.items():
            if name not in existing:
                (arguments.out / name).write_text(text)
        if not groups and not arguments.operator:
            (arguments.out / SLO_RULES).unlink(missing_ok=True)
    except OSError as error:
        raise SourceError(f"{error.filename or arguments.out}: {error.strerror or error}") from None
    for name in files:
        print(f"{arguments.out / name}{' is there already, and was left as it is' if name in existing else ''}")
    return 0


def _groups(files: Mapping[str, str]) -> Iterator[Rule]:
    """The groups of all rule files. files: texts by name."""
    for name, text in files.items():
        if name.endswith(".rules.yml"):
            yield from yaml.safe_load(text)["groups"]


def _bounds(text: str | None) -> tuple[float, ...]:
    if text is None:
        return tuple(BUCKET_BOUNDS)
    try:
        bounds = tuple(sorted(float(word) for word in text.split(",")))
    except ValueError:
        raise SettingsError(f"--buckets: {text!r} is not like 0.1,0.5,2.5: seconds, with commas") from None
    if bounds[0] <= 0:
        raise SettingsError(f"--buckets: {text!r} holds a bound that is not above 0 s")
    return bounds


COMMAND = Command(run_alerts, add_alerts_flags, DESCRIPTION)
